use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn attempt(number: i64, body: impl Into<Bytes>) -> Attempt {
    let body = body.into();
    let at = chrono::DateTime::from_timestamp(1_795_019_400, 282_000_000).unwrap();
    let record = Record {
        run_id: "019e0000-0000-7000-8000-000000000000".to_owned(),
        number,
        attempt: 1,
        account: "main".to_owned(),
        endpoint: "listing".to_owned(),
        shop_id: Some("b2b-2200733087881719de".to_owned()),
        offer_id: None,
        sku_id: None,
        page: Some(3),
        request: BTreeMap::from([("标题".to_owned(), "two\nlines \"quoted\"".to_owned())]),
        http_status: Some(200),
        content_type: Some("application/json;charset=GBK".to_owned()),
        retry_after: None,
        transport_error: None,
        wait_ms: 0,
        latency_ms: 41,
        sent_at: at,
        received_at: at,
        body_bytes: body.len() as u64,
        digest: digest(&body),
        redacted: false,
        ..Record::default()
    };
    Attempt { record, body }
}

fn encode(attempts: &[Attempt]) -> Bytes {
    Encoder::new().unwrap().encode(attempts).unwrap()
}

fn assert_same(decoded: &[Attempt], encoded: &[Attempt]) {
    assert_eq!(decoded.len(), encoded.len());
    for (decoded, encoded) in decoded.iter().zip(encoded) {
        assert_eq!(decoded.record, encoded.record);
        assert_eq!(decoded.body, encoded.body);
    }
}

fn strange() -> Vec<Attempt> {
    let gbk = encoding_rs::GBK.encode("{\"title\":\"保温杯\"}").0.into_owned();
    let bodies: [Vec<u8>; 7] = [
        gbk,
        "<?xml version=\"1.0\"?>\n<a>\r\n保</a>\n".into(),
        Vec::new(),
        b"\n".to_vec(),
        b"{\"cut\": [1, 2".to_vec(),
        vec![0, 255, b'\n', 0x28, 0xb5, 0x2f, 0xfd],
        br#"{"run_id":"x","number":1,"body_bytes":0}"#.to_vec(),
    ];
    (1..).zip(bodies).map(|(number, body)| attempt(number, body)).collect()
}

#[test]
fn strange_bodies_come_back_byte_for_byte() {
    let attempts = strange();
    let segment = encode(&attempts);
    assert_same(&decode(&segment).unwrap(), &attempts);
    let records: Vec<_> = attempts.into_iter().map(|attempt| attempt.record).collect();
    assert_eq!(headers(&segment).unwrap(), records);
}

#[test]
fn bodies_are_slices_of_one_buffer() {
    let decoded = decode(&encode(&strange())).unwrap();
    let starts: Vec<usize> = decoded.iter().map(|attempt| attempt.body.as_ptr() as usize).collect();
    let span = starts.last().unwrap() - starts[0];
    assert!(starts.is_sorted() && span < 10_000, "{starts:?}");
}

#[test]
fn any_zstandard_tool_reads_the_content_as_documented() {
    let attempts = strange();
    let segment = encode(&attempts);
    let content = zstd::stream::decode_all(&segment[..]).unwrap();
    let expected: Vec<u8> = attempts
        .iter()
        .flat_map(|attempt| {
            let mut bytes = serde_json::to_vec(&attempt.record).unwrap();
            bytes.push(b'\n');
            bytes.extend_from_slice(&attempt.body);
            bytes
        })
        .collect();
    assert_eq!(content, expected);
    assert_eq!(segment[segment.len() - TRAILER_BYTES..][..16], TRAILER_HEAD);
}

#[test]
fn a_segment_cut_at_any_byte_is_an_error() {
    let segment = encode(&strange());
    for length in 0..segment.len() {
        assert_eq!(decode(&segment[..length]).unwrap_err(), SegmentError::Torn, "cut to {length}");
    }
}

#[test]
fn a_segment_with_any_bit_changed_is_an_error() {
    let segment = encode(&strange());
    for at in 0..segment.len() {
        for bit in 0..8 {
            let mut damaged = segment.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(decode(&damaged).is_err() && headers(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn bytes_added_or_doubled_are_an_error() {
    let segment = encode(&strange());
    let mut longer = segment.to_vec();
    longer.push(0);
    assert_eq!(decode(&longer).unwrap_err(), SegmentError::Torn);
    assert!(decode(&[&segment[..], &segment[..]].concat()).is_err());
}

/// A segment whose checksum holds, around any content.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut segment = zstd::bulk::compress(content, LEVEL).unwrap();
    segment.extend_from_slice(&TRAILER_HEAD);
    let checksum = xxh3_128(&segment);
    segment.extend_from_slice(&checksum.to_be_bytes());
    segment
}

#[test]
fn a_wrong_content_under_a_right_checksum_names_its_record() {
    let content = zstd::stream::decode_all(&encode(&strange()[..2])[..]).unwrap();
    let mut changed = content.clone();
    *changed.last_mut().unwrap() ^= 1;
    let what = "its digest is not that of its body".to_owned();
    assert_eq!(decode(&sealed(&changed)).unwrap_err(), SegmentError::Record { record: 2, what });
    let cut = &content[..content.len() - 1];
    let what = "its body is cut".to_owned();
    assert_eq!(decode(&sealed(cut)).unwrap_err(), SegmentError::Record { record: 2, what });
    assert!(matches!(decode(&sealed(b"{}\n")), Err(SegmentError::Record { record: 1, .. })));
    assert!(matches!(decode(&sealed(b"no line")), Err(SegmentError::Record { record: 1, .. })));
}

proptest! {
    #[test]
    fn any_bodies_come_back(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)) {
        let attempts: Vec<_> = (1..).zip(bodies).map(|(number, body)| attempt(number, body)).collect();
        assert_same(&decode(&encode(&attempts)).unwrap(), &attempts);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), seal in any::<bool>()) {
        let bytes = if seal { sealed(&bytes) } else { bytes };
        let _ = (decode(&bytes), headers(&bytes));
    }
}
