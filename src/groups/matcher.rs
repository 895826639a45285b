//! Which groups an offer belongs to, for many groups and many offers.
//!
//! An offer is in a group if a line of it fits. Of several lines that fit, the offer is our own if one says so, and the
//! pack size is that of the line that says the most (an offer before a shop before a title alone) and states one.
//!
//! Invariant: an offer's time does not grow with the number of groups: lines are found by its ids and its words.

use std::collections::{BTreeMap, HashMap};

use crate::base::Result;
use crate::base::keywords::{Found, Pattern, Words};
use crate::config::groups::GroupLine;

/// One group that an offer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The group.
    pub group: &'a str,
    /// The offer is our own.
    pub is_ours: bool,
    /// How many pieces prices are asked for in this group.
    pub quantity: Option<i64>,
    /// Pieces in one sale unit, where the gateway states none.
    pub pack_size: Option<i32>,
}

/// The lines of a groups file, prepared.
#[derive(Debug, Clone)]
pub struct Matcher {
    lines: Vec<Line>,
    by_offer: HashMap<i64, Vec<usize>>,
    by_shop: HashMap<String, Vec<usize>>,
    /// Of lines that only say a title: by the number of a word of their first condition.
    by_word: HashMap<usize, Vec<usize>>,
    words: Words,
}

#[derive(Debug, Clone)]
struct Line {
    line: GroupLine,
    /// The group's quantity, whichever line says it.
    quantity: Option<i64>,
    /// Numbers of words: of each, one must occur.
    needed: Vec<Vec<usize>>,
    /// Numbers of words that must not occur.
    barred: Vec<usize>,
}

/// What is used again for the next offer.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Found,
    lines: Vec<usize>,
}

impl Matcher {
    /// Prepares lines that [`load_groups`](crate::config::groups::load_groups) read.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::base::Kind::Config) if there are too many words to search for at once.
    pub fn new(lines: &[GroupLine]) -> Result<Self> {
        let pattern = |line: &GroupLine| line.title.as_deref().and_then(|title| Pattern::parse(title).ok());
        let patterns: Vec<Option<Pattern>> = lines.iter().map(pattern).collect();
        let all = patterns.iter().flatten().flat_map(|pattern| pattern.needed.iter().flatten().chain(&pattern.barred));
        let words = Words::new(all.map(String::as_str))?;
        let numbers = |texts: &[String]| texts.iter().filter_map(|text| words.number(text)).collect::<Vec<usize>>();
        let quantities: BTreeMap<&str, i64> =
            lines.iter().filter_map(|line| Some((line.group.as_str(), line.quantity?))).collect();
        let prepared = lines.iter().zip(&patterns).map(|(line, pattern)| Line {
            quantity: quantities.get(line.group.as_str()).copied(),
            needed: pattern.iter().flat_map(|pattern| pattern.needed.iter().map(|texts| numbers(texts))).collect(),
            barred: pattern.iter().flat_map(|pattern| numbers(&pattern.barred)).collect(),
            line: line.clone(),
        });
        let prepared: Vec<Line> = prepared.collect();
        let (mut by_offer, mut by_shop, mut by_word) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (number, line) in prepared.iter().enumerate() {
            if let Some(offer) = line.line.offer_id {
                by_offer.entry(offer).or_insert_with(Vec::new).push(number);
            } else if let Some(shop) = &line.line.shop_id {
                by_shop.entry(shop.clone()).or_insert_with(Vec::new).push(number);
            } else {
                for word in line.needed.first().into_iter().flatten() {
                    by_word.entry(*word).or_insert_with(Vec::new).push(number);
                }
            }
        }
        Ok(Self { lines: prepared, by_offer, by_shop, by_word, words })
    }

    /// Whether there are no groups at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds the groups of an offer to `memberships`, in the order of their names.
    pub fn groups_of<'m>(
        &'m self,
        shop_id: Option<&str>,
        offer_id: i64,
        title: Option<&str>,
        scratch: &mut Scratch,
        memberships: &mut Vec<Membership<'m>>,
    ) {
        let start = memberships.len();
        self.words.find(title.unwrap_or_default(), &mut scratch.found);
        scratch.lines.clear();
        scratch.lines.extend(self.by_offer.get(&offer_id).into_iter().flatten());
        scratch.lines.extend(shop_id.and_then(|shop| self.by_shop.get(shop)).into_iter().flatten());
        for word in scratch.found.numbers() {
            scratch.lines.extend(self.by_word.get(word).into_iter().flatten());
        }
        let (found, lines) = (&scratch.found, &mut scratch.lines);
        lines.retain(|number| self.lines[*number].fits(shop_id, found));
        lines.sort_unstable_by_key(|number| (self.lines[*number].order(), *number));
        lines.dedup();
        for number in lines.iter() {
            let line = &self.lines[*number];
            match memberships[start..].last_mut() {
                Some(last) if last.group == line.line.group => {
                    last.is_ours |= line.line.ours;
                    last.pack_size = last.pack_size.or(line.line.pack_size);
                }
                _ => memberships.push(Membership {
                    group: &line.line.group,
                    is_ours: line.line.ours,
                    quantity: line.quantity,
                    pack_size: line.line.pack_size,
                }),
            }
        }
    }
}

impl Line {
    /// By group, and in a group what says the most first.
    fn order(&self) -> (&str, bool, bool, bool) {
        let line = &self.line;
        (&line.group, line.offer_id.is_none(), line.shop_id.is_none(), line.title.is_none())
    }

    /// Whether the offer is of the line's shop and its title fits; that it is the line's offer is known.
    fn fits(&self, shop_id: Option<&str>, found: &Found) -> bool {
        let is_of_shop = self.line.shop_id.as_deref().is_none_or(|shop| shop_id == Some(shop));
        let has = |numbers: &Vec<usize>| numbers.iter().any(|number| found.has(*number));
        is_of_shop && self.needed.iter().all(has) && !self.barred.iter().any(|number| found.has(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(group: &str) -> GroupLine {
        GroupLine { group: group.into(), ..GroupLine::default() }
    }

    fn of(matcher: &Matcher, shop: Option<&str>, offer: i64, title: Option<&str>) -> Vec<String> {
        let mut memberships = Vec::new();
        matcher.groups_of(shop, offer, title, &mut Scratch::default(), &mut memberships);
        let text = |of: &Membership<'_>| {
            format!("{}{}{:?}{:?}", of.group, if of.is_ours { "!" } else { "" }, of.quantity, of.pack_size)
        };
        memberships.iter().map(text).collect()
    }

    #[test]
    fn an_offer_is_in_the_groups_whose_lines_fit() {
        let lines = [
            GroupLine { title: Some("马克杯|MUG -盖".into()), quantity: Some(500), ..line("cups") },
            GroupLine { offer_id: Some(7), ours: true, pack_size: Some(24), ..line("cups") },
            GroupLine { shop_id: Some("s1".into()), pack_size: Some(12), ..line("cups") },
            GroupLine { shop_id: Some("s1".into()), title: Some("杯".into()), pack_size: Some(6), ..line("cups") },
            GroupLine { shop_id: Some("s1".into()), ..line("all of s1") },
            GroupLine { offer_id: Some(7), shop_id: Some("s2".into()), ..line("never") },
            GroupLine { shop_id: Some("s1".into()), title: Some("-杯".into()), ..line("no cup") },
        ];
        let matcher = Matcher::new(&lines).unwrap();
        type Case<'a> = (Option<&'a str>, i64, Option<&'a str>, &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (None, 1, Some("陶瓷马克杯"), &["cupsSome(500)None"]),
            (None, 1, Some("陶瓷马克杯带盖"), &[]),
            (Some("s3"), 1, Some("ｍｕｇ"), &["cupsSome(500)None"]),
            (Some("s3"), 7, None, &["cups!Some(500)Some(24)"]),
            (Some("s1"), 7, Some("水杯"), &["all of s1NoneNone", "cups!Some(500)Some(24)"]),
            (Some("s1"), 8, Some("水杯"), &["all of s1NoneNone", "cupsSome(500)Some(6)"]),
            (Some("s1"), 8, Some("壶"), &["all of s1NoneNone", "cupsSome(500)Some(12)", "no cupNoneNone"]),
            (None, 8, None, &[]),
        ];
        for (shop, offer, title, expected) in cases {
            assert_eq!(of(&matcher, shop, offer, title), expected, "{shop:?} {offer} {title:?}");
        }
        assert!(Matcher::new(&[]).unwrap().is_empty() && of(&Matcher::new(&[]).unwrap(), None, 1, None).is_empty());
    }

    #[test]
    fn what_one_offer_was_found_by_does_not_stay_for_the_next() {
        let lines = [GroupLine { title: Some("a b".into()), ..line("ab") }];
        let matcher = Matcher::new(&lines).unwrap();
        let (mut scratch, mut memberships) = (Scratch::default(), Vec::new());
        for (title, expected) in [("a", 0), ("b", 0), ("ba", 1), ("", 1)] {
            matcher.groups_of(None, 1, Some(title), &mut scratch, &mut memberships);
            assert_eq!(memberships.len(), expected, "{title}");
        }
    }
}
