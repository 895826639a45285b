//! Exact decimals for people: digits in, digits out.

/// `6955.2000` as `6,955.20`: zeros at the end go, two places stay, thousands are set apart. What is no decimal stays as
/// it is.
pub(super) fn amount(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("−", digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(places.bytes()).all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let places = places.trim_end_matches('0');
    format!("{sign}{}.{places:0<2}", grouped(whole))
}

/// An amount with its currency: `¥12.50`, `USD 12.50`.
pub(super) fn money(text: &str, currency: &str) -> String {
    match currency {
        "CNY" | "" => format!("¥{}", amount(text)).replace("¥−", "−¥"),
        other => format!("{other} {}", amount(text)),
    }
}

/// A count as [`whole`].
pub(super) fn counted(count: usize) -> String {
    grouped(&count.to_string())
}

/// `1234567` as `1,234,567`.
pub(super) fn whole(number: i64) -> String {
    let sign = if number < 0 { "−" } else { "" };
    format!("{sign}{}", grouped(&number.unsigned_abs().to_string()))
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A decimal in hundredths, cut (not rounded) behind the second place: `-5.5999` is -559. `None` for what is no decimal
/// or too large.
pub(super) fn hundredths(text: &str) -> Option<i64> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let places: String = places.chars().chain("00".chars()).take(2).collect();
    let number: i64 = format!("{whole}{places}").parse().ok()?;
    Some(if is_negative { -number } else { number })
}

/// Hundredths of a percent, to one place: -559 is `−5.6%`. Zero has no sign, anything else has one.
pub(super) fn percent(hundredths: i64) -> String {
    let tenths = (hundredths.unsigned_abs() + 5) / 10;
    let sign = match hundredths {
        _ if tenths == 0 => "",
        ..0 => "−",
        _ => "+",
    };
    format!("{sign}{}.{}%", grouped(&(tenths / 10).to_string()), tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit_that_says_something() {
        for (text, expected) in [
            ("13.790000", "13.79"),
            ("0.083333", "0.083333"),
            ("6955.2000", "6,955.20"),
            ("12", "12.00"),
            ("1234567890123456.7890", "1,234,567,890,123,456.789"),
            ("-0.5000", "−0.50"),
            ("0.0000", "0.00"),
            ("", ""),
            ("<b>", "<b>"),
        ] {
            assert_eq!(amount(text), expected);
        }
        assert_eq!((money("-1.2000", "CNY"), money("3", "USD")), ("−¥1.20".into(), "USD 3.00".into()));
    }

    #[test]
    fn percentages_are_rounded_to_one_place_from_digits() {
        for (text, expected) in [
            ("-17.7215", "−17.7%"),
            ("-5.5999", "−5.6%"),
            ("0.0000", "0.0%"),
            ("0.0400", "0.0%"),
            ("1234.5600", "+1,234.6%"),
            ("-0.0500", "−0.1%"),
            ("3", "+3.0%"),
        ] {
            assert_eq!(percent(hundredths(text).unwrap()), expected, "{text}");
        }
        assert_eq!((hundredths("x"), hundredths("")), (None, Some(0)));
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (-1234, "−1,234"), (999, "999"), (1_234_567, "1,234,567")] {
            assert_eq!(whole(number), expected);
        }
    }
}
