//! What a board is flashed with: it says what P0's material says, whatever its address, and nothing else is
//! accepted.

use halfnet_core::board::{Board, BoardError, Body};
use halfnet_core::model::blob::{BlobError, ENVELOPE_BYTES, Kind, encode_body, seal};
use halfnet_core::party::input::Input;
use halfnet_core::plan::{Client, Mode, Options, Release, compile};
use halfnet_host::party::material::PartyZero;
use halfnet_host::party::process::{ProvisionReport, ProvisionRequest, integers, provision};
use halfnet_host::party::store::Counter;
use halfnet_tests::command::{json, refused};
use halfnet_tests::dealt::{Dealt, pixels};
use halfnet_tests::network::every_step;

fn dealt(mode: Mode, client: Client) -> Dealt {
    let options = Options { mode, client, release: Release::Label, chunk_bits: 4, memory: compile::ample() };
    Dealt::new(every_step(), options, 1)
}

/// Provisions with `count` pictures; the blob, the pictures and what was said.
fn blob(dealt: &Dealt, count: u64) -> (Vec<u8>, Vec<Vec<u8>>, ProvisionReport) {
    let pictures: Vec<_> = (0..count).map(|seed| pixels(&dealt.model, seed)).collect();
    let out = dealt.file("board.postcard");
    let request = ProvisionRequest {
        material: dealt.file("party0.postcard"),
        out: out.clone(),
        pictures: pictures.clone(),
    };
    let report = provision(&request).unwrap();
    (std::fs::read(out).unwrap(), pictures, report)
}

#[test]
fn a_board_reads_what_the_material_says() {
    for (mode, client, count) in [
        (Mode::Shared, Client::SeedParty, 3),
        (Mode::Held, Client::SeedParty, 0),
        (Mode::Held, Client::Third, 0),
        (Mode::Shared, Client::Third, 0),
    ] {
        let dealt = dealt(mode, client);
        let path = dealt.file("party0.postcard");
        Counter::open(&Counter::path_beside(&path), PartyZero::read(&path).unwrap().public.pairing)
            .unwrap()
            .burn(4)
            .unwrap();
        let (bytes, pictures, report) = blob(&dealt, count);
        let material = PartyZero::read(&path).unwrap();
        let plan = material.public.plan(&path).unwrap();
        // In flash, a blob lies where it lies.
        for offset in 0..8 {
            let moved = [&vec![0; offset][..], &bytes].concat();
            let board = Board::decode(&moved[offset..]).unwrap();
            assert_eq!(board.agreement, material.public.agreement(&plan));
            assert_eq!(
                (board.plan.hash(), board.plan.layers().count()),
                (plan.hash(), plan.layers().count())
            );
            assert_eq!(board.seed.expose(), material.seed.expose());
            assert_eq!((board.test, board.next), (true, 5));
            assert_eq!(board.pictures().len(), pictures.len());
            for (mut picture, pixels) in board.pictures().zip(&pictures) {
                let expected = integers(&plan.header.model, pixels).unwrap();
                for first in [0, 7, expected.len() / 2, expected.len() - 1] {
                    let mut integers = vec![0; expected.len() - first];
                    picture.read(first, &mut integers);
                    assert_eq!(integers, expected[first..]);
                }
            }
        }
        // Nothing but plan, pictures, and 57 + 8 + 32 bytes or so.
        let rest = report.bytes - report.plan_bytes - report.picture_bytes;
        assert_eq!(
            (report.bytes, report.plan_bytes),
            (bytes.len() as u64, material.public.plan.len() as u64)
        );
        assert_eq!(report.picture_bytes, pictures.concat().len() as u64);
        assert!(
            rest <= (ENVELOPE_BYTES + 16 + 16 + 1 + 32 + 10 + 2 * 5) as u64,
            "{rest} bytes beside plan and pictures"
        );
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (good, _, _) = blob(&dealt(Mode::Held, Client::SeedParty), 1);
    let mut bytes = good.clone();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(matches!(Board::decode(&bytes), Err(BoardError::Blob(_))), "byte {at}");
        bytes[at] = good[at];
        assert!(matches!(Board::decode(&good[..at]), Err(BoardError::Blob(_))), "cut after {at} bytes");
    }
    bytes.push(0);
    assert_eq!(Board::decode(&bytes).unwrap_err(), BoardError::Blob(BlobError::Trailing { extra: 1 }));
    // Erased flash, and flash that was never written.
    assert_eq!(Board::decode(&[0xFF; 4096]).unwrap_err(), BoardError::Blob(BlobError::Magic));
    assert_eq!(Board::decode(&[]).unwrap_err(), BoardError::Blob(BlobError::TooShort { found: 0 }));
}

#[test]
fn a_body_under_a_right_hash_is_checked_too() {
    let refused = |mode, client, change: fn(&mut Body<'_>)| {
        let dealt = dealt(mode, client);
        let material = PartyZero::read(&dealt.file("party0.postcard")).unwrap();
        let public = &material.public;
        let mut body = Body {
            pairing: public.pairing,
            provisioning: public.provisioning,
            test: true,
            next: 0,
            seed: [7; 32],
            plan: &public.plan,
            pictures: &[],
        };
        change(&mut body);
        let (mut encoded, mut sealed) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let encoded = encode_body(&body, &mut encoded).unwrap();
        Board::decode(seal(Kind::Board, encoded, &mut sealed).unwrap()).map(|board| board.pictures().len())
    };
    let size = every_step().header.input.elements() as u32;
    assert_eq!(refused(Mode::Shared, Client::SeedParty, |_| {}), Ok(0));
    assert_eq!(refused(Mode::TwoServers, Client::Third, |_| {}), Err(BoardError::Mode));
    assert_eq!(
        refused(Mode::Shared, Client::Third, |body| body.pictures = &[0; 1 << 12]),
        Err(BoardError::Client)
    );
    let found = BoardError::Pictures { expected: size, found: 1 };
    assert_eq!(refused(Mode::Held, Client::SeedParty, |body| body.pictures = &[0]), Err(found));
    assert!(matches!(
        refused(Mode::Held, Client::SeedParty, |body| body.plan = &body.plan[1..]),
        Err(BoardError::Plan(_))
    ));
    let mut sealed = [0; 100];
    assert_eq!(
        Board::decode(seal(Kind::Board, &[3; 20], &mut sealed).unwrap()).unwrap_err(),
        BoardError::Encoding
    );
}

#[test]
fn the_command_writes_and_refuses() {
    let dealt = dealt(Mode::Shared, Client::SeedParty);
    let text = |name: &str| dealt.file(name).to_str().unwrap().to_owned();
    let (zero, one, out) = (text("party0.postcard"), text("party1.postcard"), text("board.postcard"));
    std::fs::write(dealt.file("pictures"), [pixels(&dealt.model, 1), pixels(&dealt.model, 2)].concat())
        .unwrap();
    let found = json(&[
        "provision",
        "--material",
        &zero,
        "--out",
        &out,
        "--raw-pictures",
        &text("pictures"),
        "--json",
    ]);
    assert_eq!(found["bytes"], std::fs::metadata(&out).unwrap().len());
    assert_eq!(
        (&found["pictures"], &found["mode"], &found["is_client"]),
        (&2.into(), &"s".into(), &true.into())
    );
    assert_eq!(Board::decode(&std::fs::read(&out).unwrap()).unwrap().pictures().len(), 2);
    refused(&["provision", "--material", &one, "--out", &out], 5, "kind 4");
    refused(&["provision", "--material", &zero, "--out", &out, "--pictures", "idx:3..3"], 2, "idx:A..B");
    refused(&["provision", "--material", &zero, "--out", &out, "--pictures", "idx:x..3"], 2, "idx:A..B");
    std::fs::remove_file(dealt.file("party0.counter")).unwrap();
    refused(&["provision", "--material", &zero, "--out", &out], 5, "counter beside the seed is missing");

    let servers = self::dealt(Mode::TwoServers, Client::Third);
    let (zero, out) = (servers.file("party0.postcard"), servers.file("board.postcard"));
    refused(
        &["provision", "--material", zero.to_str().unwrap(), "--out", out.to_str().unwrap()],
        2,
        "no server of mode t",
    );
    assert!(!out.exists());
    let third = self::dealt(Mode::Held, Client::Third);
    let (zero, out) = (third.file("party0.postcard"), third.file("board.postcard"));
    std::fs::write(third.file("picture"), pixels(&third.model, 1)).unwrap();
    let picture = third.file("picture");
    let arguments = ["--out", out.to_str().unwrap(), "--raw-pictures", picture.to_str().unwrap()];
    refused(
        &[&["provision", "--material", zero.to_str().unwrap()][..], &arguments].concat(),
        2,
        "third client",
    );
}
