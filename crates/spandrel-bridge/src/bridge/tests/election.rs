//! Who has the port, and how a bridge ends.

use super::*;

#[test]
fn the_second_program_becomes_a_client() {
    let mut rig = Rig::plain();
    for (name, fact, want) in [
        ("open", open(), vec!["listen"]),
        ("port taken", Input::ListenFailed, [&CLIENT[..], &["dial 1 plain"]].concat()),
        ("a room before the host answered", room("R"), vec![]),
        ("joined", up(1), vec!["note joined the host of this machine", r#"host 1 42["matchTarget","R"]"#]),
        ("sends go to the host", send("1"), vec![r#"host 1 42["message",{"data":1}]"#]),
        ("without a value", Input::Parent(FromParent::Send(None)), vec![r#"host 1 42["message",{}]"#]),
        ("another room", room("방\n"), vec![r#"host 1 42["matchTarget","방\n"]"#]),
    ] {
        assert_eq!(rig.step(fact), want, "{name}");
    }
}

#[test]
fn a_room_given_before_open_is_told_to_the_host() {
    let mut rig = Rig::plain().after([room("EARLY"), open(), Input::ListenFailed]);
    assert_eq!(rig.step(up(1)).last().unwrap(), r#"host 1 42["matchTarget","EARLY"]"#);
    let mut roomless = Rig::plain().after([open(), Input::ListenFailed]);
    assert_eq!(roomless.step(up(1)), ["note joined the host of this machine"]);
}

#[test]
fn only_messages_of_the_host_reach_the_parent() {
    let host_says = |link, text| Input::HostEvent { link: LinkId(link), event: event(text) };
    let mut rig = Rig::joined();
    assert_eq!(rig.step(host_says(1, r#"["message",{"data":1}]"#)), [data(r#"{"data":1}"#)]);
    assert_eq!(rig.step(host_says(1, r#"9["message",null]"#)), [data("null")]);
    for (link, text) in
        [(1, r#"["message"]"#), (1, r#"["mode",1]"#), (1, r#"["matchTarget","R"]"#), (2, r#"["message",1]"#)]
    {
        assert_eq!(rig.step(host_says(link, text)), NOTHING, "{link} {text}");
    }
    let binary = event_with(r#"451-["message",{"_placeholder":true,"num":0}]"#, &[&[7]]);
    let told = rig.step(Input::HostEvent { link: LinkId(1), event: binary });
    assert_eq!(told, [data(r#"{"type":"Buffer","data":[7]}"#)]);
}

#[test]
fn the_port_is_asked_for_at_once_when_the_host_is_gone() {
    let mut rig = Rig::joined().pass(60_000);
    assert_eq!(rig.step(down(1)), ["note lost the host", "listen"]);
    let took_over = ["note the host is gone; this program is the host now"];
    assert_eq!(rig.step(Input::Listening), [&HOST[..], &took_over].concat());
    assert_eq!(rig.step(browser(1, "R")), [CAME, SINGLE]);

    let mut loser = Rig::joined().pass(60_000).after([down(1)]);
    assert_eq!(loser.step(Input::ListenFailed), [&CLIENT[..], &["dial 2 plain"]].concat());
    assert_eq!(loser.step(down(1)), NOTHING, "an old link's end changes nothing");
    assert_eq!(loser.step(up(1)), NOTHING);
    assert_eq!(loser.step(up(2)), ["note joined the host of this machine"]);
}

#[test]
fn first_the_own_security_then_the_other() {
    for (security, dials) in
        [(Security::Plain, ["dial 1 plain", "dial 2 tls"]), (Security::Tls, ["dial 1 tls", "dial 2 plain"])]
    {
        let mut rig = Rig::new(Config::new(security, 7)).after([open()]);
        assert_eq!(rig.step(Input::ListenFailed)[2], dials[0]);
        assert_eq!(rig.step(refused(1)), [dials[1]]);
        assert_eq!(rig.step(refused(1)), NOTHING, "it was refused already");
        assert!(rig.step(up(2))[0].starts_with("note joined the host of this machine"));
    }
}

#[test]
fn why_the_port_is_not_ours_is_told() {
    let note = |first: Input, second: Input| {
        let mut rig = Rig::plain().after([open(), first, refused(1), refused(2)]);
        let told = rig.step(second);
        assert_eq!(told, [&CLIENT[..], &["dial 3 plain"]].concat(), "a host is looked for in any case");
        rig.after([refused(3)]).step(refused(4)).remove(0)
    };
    let taken = "note another program has the port and is no host to join; trying again in ";
    let denied = "note cannot listen on the port: permission denied; trying again in ";
    let refusal = || Input::ListenRefused("permission denied".into());
    for (first, second, want) in [
        (Input::ListenFailed, Input::ListenFailed, taken),
        (refusal(), refusal(), denied),
        (Input::ListenFailed, refusal(), denied),
        (refusal(), Input::ListenFailed, taken),
    ] {
        let told = note(first, second);
        assert!(told.starts_with(want), "{told}");
    }
}

#[test]
fn a_port_that_nobody_serves_is_asked_for_at_once_then_with_waits() {
    let mut rig = Rig::plain().after([open(), Input::ListenFailed, refused(1)]);
    assert_eq!(rig.step(refused(2)), ["listen"], "whoever had it may be gone");
    let mut waits = vec![];
    for link in (3..19).step_by(2) {
        rig.step(Input::ListenFailed);
        rig.step(refused(link));
        let noted = rig.step(refused(link + 1));
        assert!(noted.len() == 1 && noted[0].starts_with("note another program has the port"), "{noted:?}");
        let wait = rig.bridge.wake().unwrap().since(rig.now);
        assert_eq!(rig.tick(wait - 1), NOTHING, "not before its time");
        assert_eq!(rig.tick(1), ["listen"]);
        waits.push(wait);
    }
    assert!(waits[0] < 100 && waits[7] > 1_000 && waits.iter().all(|wait| *wait < 4_500), "{waits:?}");
}

#[test]
fn a_port_that_never_answers_is_noticed_to_be_free_within_15_s() {
    let mut rig = Rig::plain().after([open(), Input::ListenFailed]);
    let (mut asked, mut longest) = (rig.now, 0);
    while rig.now.since(Rig::plain().now) < 120_000 {
        let wait = rig.bridge.wake().expect("it never stops trying").since(rig.now);
        if rig.tick(wait).contains(&"listen".to_owned()) {
            longest = longest.max(rig.now.since(asked));
            asked = rig.now;
            rig.step(Input::ListenFailed);
        }
    }
    assert!((5_000..10_000).contains(&longest), "{longest} ms");
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut rig = Rig::plain().after([open(), Input::ListenFailed]);
    assert_eq!(rig.tick(2_499), NOTHING);
    assert_eq!(rig.tick(1), ["hang up 1", "dial 2 tls"]);
    assert_eq!(rig.step(up(1)), NOTHING, "too late");
    assert_eq!(rig.tick(2_500), ["hang up 2", "listen"]);
}

#[test]
fn links_that_end_soon_are_called_less_often() {
    let mut rig = Rig::joined();
    let mut pauses = vec![];
    for link in 1..8 {
        assert!(
            rig.step(down(link)).contains(&"listen".to_owned()),
            "the port is asked for at once all the same"
        );
        let before = rig.now;
        if !rig.step(Input::ListenFailed).iter().any(|line| line.starts_with("dial")) {
            let wait = rig.bridge.wake().unwrap().since(rig.now);
            assert!(rig.tick(wait)[0].starts_with("dial"));
        }
        pauses.push(rig.now.since(before));
        rig.step(up(link + 1));
    }
    assert!(pauses[0] == 0 && pauses[1] > 0 && pauses[6] > 500, "{pauses:?}");
    rig.advance(1_000);
    rig.step(down(8));
    assert!(rig.step(Input::ListenFailed)[2].starts_with("dial"), "one that lived is called at once");
}

#[test]
fn a_second_open_changes_nothing_but_a_wait() {
    assert_eq!(Rig::plain().after([open()]).step(open()), NOTHING);
    assert_eq!(Rig::host().step(open()), NOTHING);
    assert_eq!(Rig::joined().step(open()), NOTHING);
    assert_eq!(
        Rig::plain().after([open(), Input::ListenFailed]).step(open()),
        NOTHING,
        "a host is being called"
    );
    let mut waiting =
        Rig::plain().after([open(), Input::ListenFailed, refused(1), refused(2), Input::ListenFailed]);
    waiting = waiting.after([refused(3), refused(4)]);
    assert_eq!(waiting.step(open()), ["listen"]);
}

#[test]
fn being_asked_to_end_frees_the_port_and_reports_every_session_once() {
    let mut host = Rig::host().after([browser(1, "RC"), browser(2, None), client(3)]);
    let close = r#"parent {"key":"close"}"#;
    assert_eq!(
        host.step(Input::Terminate),
        ["stop", r#"parent {"key":"close","value":"RC"}"#, close, close, SINGLE, "exit 0"]
    );
    for late in [
        closed(1),
        says(2, r#"1["message",1]"#),
        open(),
        send("1"),
        browser(4, None),
        Input::Terminate,
        Input::ParentGone,
        Input::Tick,
    ] {
        assert_eq!(host.step(late), NOTHING);
    }
    assert_eq!(host.bridge.wake(), None);

    let mut client_between = Rig::host().after([client(1), browser(2, "R")]);
    let reports = client_between.step(Input::Terminate);
    assert_eq!(
        reports,
        ["stop", close, r#"parent {"key":"close","value":"R"}"#, SINGLE, "exit 0"],
        "the mode is last"
    );
    assert_eq!(
        Rig::host().after([browser(1, "r")]).step(Input::Terminate),
        ["stop", r#"parent {"key":"close","value":"r"}"#, "exit 0"]
    );
    assert_eq!(Rig::joined().step(Input::Terminate), ["hang up 1", "exit 0"]);
    assert_eq!(Rig::plain().after([open()]).step(Input::Terminate), ["stop", "exit 0"]);
    assert_eq!(Rig::plain().step(Input::Terminate), ["exit 0"]);
}

#[test]
fn without_a_parent_nothing_is_reported() {
    assert_eq!(Rig::host().after([browser(1, "r"), client(2)]).step(Input::ParentGone), ["stop", "exit 0"]);
    assert_eq!(Rig::joined().step(Input::ParentGone), ["hang up 1", "exit 0"]);
}

#[test]
fn sessions_without_a_host_are_closed_and_answers_nobody_asked_for_mean_nothing() {
    for mut rig in [Rig::plain(), Rig::joined(), Rig::plain().after([open()])] {
        assert_eq!(rig.step(browser(1, None)), ["close 1"]);
        assert_eq!(rig.step(closed(1)), NOTHING);
    }
    for fact in [Input::Listening, Input::ListenFailed, up(1), down(1), refused(1)] {
        assert_eq!(Rig::host().step(fact.clone()), NOTHING);
        assert_eq!(Rig::plain().step(fact), NOTHING);
    }
    assert_eq!(Rig::joined().step(Input::Listening), NOTHING);
}
