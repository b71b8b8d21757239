//! Every path answers, and the description of the paths says so.

use serde_json::{Value, json};

use super::data::{flights, with};
use super::server::{PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_openapi_document_answers() {
    let server = Server::of_flights(json!({}));
    let document = server.get("/v1/openapi.json").await;
    assert_eq!(document.status, 200);
    let document = document.json();
    assert_eq!(document["openapi"].as_str().map(|v| &v[..4]), Some("3.1."));
    let request = with(flights(), &[("searchParams.limit", 10.into())]);
    let id = server.http().create(&request).await;
    let done = server.http().completed(&id).await;
    let file = done["files"][0]["fileName"].as_str().expect("a file");
    let mut asked = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if !["get", "head", "post", "delete"].contains(&method.as_str()) {
                continue;
            }
            // The one that would take the job from the others gets a job of its own.
            let id = if method == "delete" { server.http().create(&request).await } else { id.clone() };
            let at = path.replace("{id}", &id).replace("{fileName}", file);
            let body = if method == "post" { request.to_string() } else { String::new() };
            let answer = server.http().send(&method.to_uppercase(), &at, &[], body.as_bytes()).await;
            let want: &[u16] = match (path.as_str(), method.as_str()) {
                ("/v1/downloads", "post") => &[202],
                (_, "delete") => &[204],
                ("/v1/ws", _) => &[400, 426], // no upgrade was asked for
                (path, _)
                    if path.ends_with("/pause") || path.ends_with("/resume") || path.ends_with("/cancel") =>
                {
                    &[409]
                }
                _ => &[200],
            };
            assert!(want.contains(&answer.status), "{method} {path}: {}", answer.status);
            let responses = &document["paths"][path][method]["responses"];
            let is_listed =
                responses.get(answer.status.to_string()).or_else(|| responses.get("default")).is_some();
            assert!(is_listed, "{method} {path} does not list {}", answer.status);
            asked.push(format!("{method} {path}"));
        }
    }
    asked.sort();
    let want = [
        "delete /v1/downloads/{id}",
        "get /metrics",
        "get /v1/datasets",
        "get /v1/downloads",
        "get /v1/downloads/{id}",
        "get /v1/files/{id}/{fileName}",
        "get /v1/health",
        "get /v1/openapi.json",
        "get /v1/ws",
        "head /v1/files/{id}/{fileName}",
        "post /v1/downloads",
        "post /v1/downloads/{id}/cancel",
        "post /v1/downloads/{id}/pause",
        "post /v1/downloads/{id}/resume",
        "post /v1/preview",
    ];
    assert_eq!(asked, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_say_what_goes_on() {
    let server = Server::of_flights(json!({}));
    let health = server.get("/v1/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &"healthy".into()));
    let names: Vec<Value> = health.json()["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|check| check["name"].clone())
        .collect();
    assert_eq!(names, ["source", "storage", "memory"]);

    let mut ws = server.ws().await;
    let request = with(flights(), &[("options.maxRowsPerSecond", 5_000.into())]);
    let id = ws.start(&request).await["downloadId"].clone();
    let number = async |name: &str| {
        let metrics = server.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(
            metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
        );
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .map(str::to_owned);
        line.and_then(|value| value.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {name}: {}", metrics.text()))
    };
    for (name, want) in [
        ("spandrel_downloads_active", 1.0),
        ("spandrel_downloads_queued", 0.0),
        ("spandrel_downloads_records", 1.0),
        ("spandrel_downloads_created_total", 1.0),
        ("spandrel_connections", 1.0),
        ("spandrel_messages_received_total", 1.0),
    ] {
        assert_eq!(number(name).await, want, "{name}");
    }
    let told = number("spandrel_resident_bytes").await / 1024.0;
    let have = server.rss_kib() as f64;
    assert!((told - have).abs() < have / 2.0, "told {told} KiB, the system says {have}");
    ws.ask("download:cancel", &json!({ "downloadId": id })).await;
    server.http().until(id.as_str().expect("an id"), "cancelled", |s| s["state"] == "cancelled").await;
    let began = tokio::time::Instant::now();
    // The slot is free when the threads are, a moment later.
    while number("spandrel_downloads_active").await > 0.0 {
        assert!(began.elapsed() < PATIENCE, "the slot stays taken");
    }
}

/// What the page and its modules name, they get: a browser stops at the first module that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn everything_the_page_asks_for_is_there() {
    let server = Server::of_flights(json!({}));
    let (mut seen, mut todo) = (Vec::new(), vec!["/".to_owned()]);
    while let Some(path) = todo.pop() {
        let file = server.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        let text = file.text().to_owned();
        seen.push(path);
        let named = ["from '", "src=\"", "href=\""].into_iter().flat_map(|before| text.split(before).skip(1));
        for name in named.filter_map(|rest| rest.split(['\'', '"']).next()) {
            let at = format!("/{}", name.trim_start_matches("./").trim_start_matches('/'));
            if (name.ends_with(".js") || name.ends_with(".css")) && !seen.contains(&at) && !todo.contains(&at)
            {
                todo.push(at);
            }
        }
    }
    assert!(seen.len() >= 4, "the page, a style and its modules: {seen:?}");
}

/// A part over HTTP: whole, its end, a middle, nothing, and conditions.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_in_ranges_and_under_conditions() {
    let server = Server::of_flights(json!({}));
    let http = server.http();
    let id = http.create(&with(flights(), &[("searchParams.limit", 1_000.into())])).await;
    let status = http.completed(&id).await;
    let url = status["files"][0]["url"].as_str().expect("a url");
    let whole = http.get(url).await;
    let (body, etag) = (&whole.body, whole.header("etag").expect("an etag").to_owned());
    assert_eq!(etag, format!("\"sha256-{}\"", super::data::sha256(body)));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-encoding"), None);
    let total = body.len();
    for (name, head, status, want) in [
        ("a middle", &[("Range", "bytes=5-9")][..], 206, &body[5..10]),
        ("an end", &[("Range", "bytes=-7")], 206, &body[total - 7..]),
        ("open", &[("Range", "bytes=100-")], 206, &body[100..]),
        ("clipped", &[("Range", "bytes=100-99999999")], 206, &body[100..]),
        ("several", &[("Range", "bytes=0-1,4-5")], 200, body),
        ("no range", &[("Range", "lines=1-2")], 200, body),
        ("past the end", &[("Range", "bytes=99999999-")], 416, &[]),
        ("same", &[("Range", "bytes=5-9"), ("If-Range", &etag)], 206, &body[5..10]),
        ("changed", &[("Range", "bytes=5-9"), ("If-Range", "\"sha256-00\"")], 200, body),
        ("known", &[("If-None-Match", &etag)], 304, &[]),
        ("another", &[("If-Match", "\"x\"")], 412, &[]),
    ] {
        let answer = http.send("GET", url, head, b"").await;
        assert_eq!(answer.status, status, "{name}");
        assert!(answer.body == want || status > 206, "{name}: other bytes");
        if status == 416 {
            assert_eq!(answer.header("content-range"), Some(&*format!("bytes */{total}")));
        }
    }
    let head = http.send("HEAD", url, &[], b"").await;
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(&*etag)));
    for path in [
        "/v1/files/x/../../state/lock",
        &format!("/v1/files/{id}/..%2frecord.json"),
        &format!("/v1/files/{id}/record.json"),
    ] {
        assert_eq!(http.get(path).await.status, 404, "{path}");
    }
}
