//! The same channel over standard input and output, for parents in any language.

use serde_json::{Value, json};

use super::page::Page;
use super::parent::Parent;

#[tokio::test]
async fn a_parent_in_any_language_drives_it() {
    let mut parent = Parent::open(&[]).await;
    let mut page = Page::open(parent.address(), "3f09a1c2d4").await;
    assert_eq!(parent.hear().await, ("connection".into(), Value::Null));
    assert_eq!(parent.hear().await, ("cloudModeChanged".into(), json!(0)));

    parent.say("send", json!({ "light": 512, "이름": "보드" })).await;
    assert_eq!(page.hear().await, r#"{"data":{"light":512,"이름":"보드"}}"#);
    page.say(r#"{"data":"{\"led\":true}","mode":0,"type":"utf8"}"#).await;
    let data = parent.next("data").await;
    assert_eq!(data, json!({ "data": "{\"led\":true}", "mode": 0, "type": "utf8" }));

    drop(page);
    assert_eq!(parent.hear().await, ("close".into(), json!("3f09a1c2d4")));
    assert_eq!(parent.leave().await.code(), Some(0));
}

#[tokio::test]
async fn its_log_is_on_standard_error_and_standard_output_holds_messages_only() {
    let mut parent = Parent::open(&[]).await;
    let refused = Page::connect(parent.address(), "client=true&j=0").await;
    drop(refused);
    parent.write(b"not a message\n\n{\"key\":\"open\"}\n{\"key\":\"encrypt\",\"value\":\"x\"}\n").await;
    let mut page = Page::open(parent.address(), "r").await;
    page.settle().await;
    // Every line up to here was a message, or `hear` had said so.
    let _ = parent.next("data").await;
    assert!(!parent.log().is_empty());
    assert_eq!(parent.leave().await.code(), Some(0));
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_ends_it_with_2_and_one_line() {
    for (name, value, word) in [
        ("SPANDREL_HW_PORT", "many", "many"),
        ("SPANDREL_HW_PORT", "65536", "65536"),
        ("SPANDREL_HW_ORIGINS", "https://", "https://"),
        ("SPANDREL_HW_ORIGINS", "school.example", "school.example"),
    ] {
        let mut parent = Parent::start(&[(name, value)]);
        assert_eq!(parent.ended().await.code(), Some(2), "{name}={value}");
        let line = parent.logged(|line| line.contains(word).then(|| line.to_owned())).await;
        assert!(line.contains(name) || line.contains("origin") || line.contains("port"), "{line}");
        assert_eq!(parent.log().len(), 1, "{:?}", parent.log());
    }
}
