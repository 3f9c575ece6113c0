//! Dealing, two parties and a client started one by one, as a user does it, and what `simulate --coins` said
//! before.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use halfnet_tests::command::{Folder, binary, halfnet, json, refused};
use serde_json::Value;

/// A party in a process of its own, ended when dropped.
struct Party(Child);

impl Party {
    /// Starts one, and gives what it says that it waits on: for the other party, for clients.
    fn start(arguments: &[&str], addresses: usize) -> (Self, Vec<SocketAddr>) {
        let mut child =
            Command::new(binary()).arg("party").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = |line: String| line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let found =
            lines.by_ref().map_while(Result::ok).filter_map(address).take(addresses).collect::<Vec<_>>();
        // A full pipe would stop the party.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let party = Self(child);
        assert_eq!(found.len(), addresses, "{arguments:?} says where it waits");
        (party, found)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ANY: &str = "127.0.0.1:0";

/// The pictures' answers by two processes and a client.
fn infer(dealt: &str, third: bool, pictures: &[&str]) -> Value {
    let file = |name: &str| format!("{dealt}/{name}");
    let (zero, one, plan) = (file("party0.postcard"), file("party1.postcard"), file("plan.postcard"));
    if !third {
        let (_one, at) = Party::start(&["--role", "1", "--material", &one, "--peer-listen", ANY], 1);
        return json(
            &[&["infer", "--material", &zero, "--peer-connect", &at[0].to_string(), "--json"], pictures]
                .concat(),
        );
    }
    let (_one, at) =
        Party::start(&["--role", "1", "--material", &one, "--peer-listen", ANY, "--clients", ANY], 2);
    let peer = at[0].to_string();
    let (_zero, clients) =
        Party::start(&["--role", "0", "--material", &zero, "--peer-connect", &peer, "--clients", ANY], 1);
    let (p0, p1) = (clients[0].to_string(), at[1].to_string());
    json(&[&["infer", "--plan", &plan, "--p0", &p0, "--p1", &p1, "--json"], pictures].concat())
}

#[test]
fn what_two_processes_answer_is_predicted_bit_for_bit() {
    let folder = Folder::new("by-hand");
    let model = folder.file("model.postcard", halfnet_host::network::bundled::MODEL);
    for (mode, client, release) in [
        ("t", "third", "logits"),
        ("s", "p0", "logits"),
        ("h", "p0", "logits"),
        ("t", "third", "label"),
        ("s", "third", "label"),
        ("h", "p0", "label"),
    ] {
        let dealt = folder.path().join(format!("{mode}-{client}-{release}"));
        let dealt = dealt.to_str().unwrap();
        let deal = ["deal", "--model", &model, "--out", dealt, "--bundles", "2", "--json"];
        let found = json(&[&deal[..], &["--mode", mode, "--client", client, "--release", release]].concat());
        assert_eq!((&found["first"], &found["count"]), (&0.into(), &2.into()));
        let state = format!("{dealt}/dealer.postcard");
        let more = json(&["deal", "--more", "1", "--state", &state, "--json"]);
        assert_eq!((&more["first"], &more["count"], &more["dealt"]), (&2.into(), &1.into(), &3.into()));
        assert!(
            more["note"].as_str().unwrap().contains("if all 3 bundles of this pairing went to one input")
        );

        let pictures = ["idx:3", "idx:7", "idx:3"];
        let predicted = json(&[
            "simulate",
            "--coins",
            &state,
            "--counter",
            "0",
            "--json",
            "--picture",
            "idx:3",
            "--picture",
            "idx:7",
            "--picture",
            "idx:3",
        ]);
        assert_eq!(
            (&predicted["images"], &predicted["range_violations"]),
            (&3.into(), &0.into()),
            "{mode} {client} {release}"
        );
        let answers = infer(dealt, client == "third", &pictures);
        for (index, picture) in pictures.iter().enumerate() {
            let (found, expected) = (&answers["answers"][index], &predicted["answers"][index]);
            assert_eq!((&found["picture"], &found["counter"]), (&(*picture).into(), &index.into()));
            for field in ["picture", "counter", "values", "truth"] {
                assert_eq!(
                    found[field], expected[field],
                    "{mode} {client} {release}: {field} of answer {index}"
                );
            }
        }
        // Another counter has other coins: logits with all their bits show it.
        if release == "logits" {
            assert_ne!(answers["answers"][0]["values"], answers["answers"][2]["values"], "{mode}");
        }
    }
}

#[test]
fn predictions_that_cannot_be_made_are_refused() {
    let folder = Folder::new("predictions");
    let model = folder.file("model.postcard", halfnet_host::network::bundled::MODEL);
    let dealt = folder.path().join("dealt");
    json(&["deal", "--model", &model, "--out", dealt.to_str().unwrap(), "--json"]);
    let state = dealt.join("dealer.postcard");
    let state = state.to_str().unwrap();
    assert_eq!(json(&["simulate", "--coins", state, "--counter", "0", "--json"])["images"], 1);
    refused(&["simulate", "--coins", state, "--counter", "1"], 5, "counter 1 was never dealt");
    refused(&["simulate", "--coins", state, "--counter", "0", "--picture", "idx:x"], 2, "names no picture");
    refused(&["simulate", "--coins", state, "--counter", "0", "--picture", "idx:32"], 3, "give --data DIR");
    refused(&["simulate", "--coins", state], 2, "--counter");
    refused(&["simulate", "--coins", model.as_str(), "--counter", "0"], 5, "blob of kind");
}

#[test]
fn a_party_says_what_it_did_and_leaves_when_it_is_done() {
    let folder = Folder::new("party");
    let model = folder.file("model.postcard", halfnet_host::network::bundled::MODEL);
    let dealt = folder.path().join("dealt");
    let warned =
        halfnet(&["deal", "--model", &model, "--out", dealt.to_str().unwrap(), "--insecure-test-seed", "0a"]);
    assert!(String::from_utf8_lossy(&warned.stderr).contains("warning: --insecure-test-seed"));
    assert!(String::from_utf8_lossy(&warned.stdout).contains("dealt under a test seed: insecure"));
    let file = |name: &str| dealt.join(name).to_str().unwrap().to_owned();
    let (zero, one) = (file("party0.postcard"), file("party1.postcard"));
    // A port that is taken, and addresses that others could see.
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(
        &["party", "--role", "1", "--material", &one, "--peer-listen", &address],
        6,
        "another process uses this port",
    );
    for plaintext in [&[][..], &["--insecure-plaintext"]] {
        let far =
            [&["party", "--role", "1", "--material", &one, "--peer-listen", "0.0.0.0:0"], plaintext].concat();
        refused(&far, 6, "not loopback, and a test seed was given");
    }

    let mut child = Command::new(binary())
        .args([
            "party",
            "--role",
            "1",
            "--material",
            &one,
            "--peer-listen",
            ANY,
            "--inferences",
            "1",
            "--json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    json(&["infer", "--material", &zero, "--peer-connect", &address, "--json", "idx:1"]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let served: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&served["role"], &served["inferences"], &served["failed"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert!(served["arena_bytes"].as_u64().unwrap() > 1000);
}
