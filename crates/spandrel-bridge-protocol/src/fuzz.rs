//! Entry points for fuzzers: plain functions that must never panic.

use bytes::Bytes;
use spandrel_crypto::Token;

use crate::{
    Admitted, Facts, FromParent, Header, OriginHeader, Origins, Refusal, Rules, Secret, ToParent, decrypt,
    encrypt,
};

/// Reads a line of the parent. What it says is as much JSON as a full parser finds in it, and a value that came in goes out
/// on one line.
pub fn fuzz_parent_line(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    let said = FromParent::decode(&line);
    let is_json =
        std::str::from_utf8(data).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    assert_eq!(said.is_ok(), is_json, "{said:?}");
    if let Ok(FromParent::Send(Some(value))) = said {
        let out = ToParent::Data(value).to_frame();
        assert!(!out.data().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(out.data()).is_ok());
    }
}

/// A line with an origin list, then lines with an `Origin` each.
pub fn fuzz_origin(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let list = lines.next().unwrap_or_default();
    let origins = std::str::from_utf8(list).ok().and_then(|list| Origins::parse(list).ok());
    if let Some(origins) = &origins {
        let again = Origins::parse(&origins.to_string()).expect("what was written is read");
        assert_eq!(*origins, again, "two readings of one list");
    }
    let open = Origins::parse("*").expect("a known entry");
    for line in lines {
        let header = OriginHeader::read(line);
        assert!(open.admits(&header), "* admits all");
        if let OriginHeader::Of(origin) = &header {
            assert_eq!(
                OriginHeader::read(origin.to_string().as_bytes()),
                header,
                "two readings of one origin"
            );
            let alone = Origins::parse(&origin.to_string()).expect("an origin is an entry");
            assert!(alone.admits(&header), "an entry admits itself");
        }
        if header == OriginHeader::Unreadable {
            assert!(origins.as_ref().is_none_or(|list| list.is_open() || !list.admits(&header)));
        }
    }
}

/// A byte of flags, then lines: `Host`, `Origin`, `Sec-Fetch-Site`, `token`, origin list.
pub fn fuzz_admission(data: &[u8]) {
    let (flags, rest) = data.split_first().map_or((0, data), |(flags, rest)| (*flags, rest));
    let mut lines = rest.split(|b| *b == b'\n');
    let mut header = |bit: u8| match (lines.next(), flags >> bit & 3) {
        (None, _) | (_, 0) => Header::Missing,
        (_, 1) => Header::Many,
        (Some(line), _) => Header::One(line),
    };
    let (host, origin, sec_fetch_site) = (header(0), header(2), header(4));
    let token = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let origins = lines.next().and_then(|line| Origins::parse(std::str::from_utf8(line).ok()?).ok());
    let is_child_server = flags & 64 != 0;
    let facts = Facts { host, origin, sec_fetch_site, is_child_server, token };
    let open = Rules::new(Origins::parse("*").expect("a known entry"));
    let plain = Rules::new(origins.unwrap_or_default());
    let paired = plain.clone().with_token(Token::new("fuzz").expect("a token"));
    let judged = plain.judge(&facts);
    let is_page = origin != Header::Missing || sec_fetch_site != Header::Missing;
    match &judged {
        Ok(Admitted::ChildServer) => assert!(is_child_server && !is_page, "a page as a program"),
        Ok(_) => assert!(!is_child_server, "a program as a page"),
        Err(refusal) => {
            let line = refusal.to_string();
            assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        }
    }
    match open.judge(&facts) {
        Ok(admitted) => assert!(judged.as_ref().is_ok_and(|own| *own == admitted) || judged.is_err()),
        Err(refusal) => assert!(matches!(refusal, Refusal::Pretender { .. }) && judged.is_err()),
    }
    match paired.judge(&facts) {
        Ok(admitted) => assert_eq!(judged, Ok(admitted), "a token only ever closes"),
        Err(Refusal::Token { .. }) => assert!(is_page && token != Some("fuzz")),
        Err(refusal) => assert_eq!(judged, Err(refusal)),
    }
}

/// Any text to decrypt; what decrypts encrypts to something that decrypts to the same.
pub fn fuzz_decrypt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let secret = Secret::new("TEST_SECRET");
    let clear = decrypt(&secret, text);
    assert!(clear.len() <= text.len(), "more than was there");
    assert_eq!(decrypt(&secret, &encrypt(&secret, &clear, [7; 8])), clear);
}
