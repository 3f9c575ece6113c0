//! A small Tiny-ImageNet of flat grey pictures, as a folder and as an archive.

use super::*;

const SET: DataSetKind = DataSetKind::TinyImagenet20;

/// A JPEG of one grey: quantisation by 1, one Huffman code for the first block's level and one for every
/// other block.
pub(in super::super) fn grey(side: u16, value: u8) -> Vec<u8> {
    let level = 8 * (i32::from(value) - 128);
    let category = 32 - level.unsigned_abs().leading_zeros();
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    let [high, low] = side.to_be_bytes();
    file.extend([0xff, 0xc0, 0, 11, 8, high, low, high, low, 1, 1, 0x11, 0]);
    // Levels: code 0 for no difference, code 10 for one of `category` bits. Then code 0 for the end of a
    // block.
    file.extend([0xff, 0xc4, 0, 21, 0x00, 1, 1]);
    file.extend([0; 14]);
    file.extend([0, category as u8]);
    file.extend([0xff, 0xc4, 0, 20, 0x10, 1]);
    file.extend([0; 16]);
    file.extend([0xff, 0xda, 0, 8, 1, 1, 0x00, 0, 63, 0]);
    let mut bits = vec![true, false];
    let coded = if level < 0 { level + (1 << category) - 1 } else { level };
    bits.extend((0..category).rev().map(|b| coded >> b & 1 == 1));
    bits.push(false);
    let blocks = usize::from(side).div_ceil(8).pow(2);
    bits.extend(vec![false; 2 * (blocks - 1)]);
    bits.resize(bits.len().next_multiple_of(8), true);
    for byte in bits.chunks(8).map(|b| b.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))) {
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend([0xff, 0xd9]);
    file
}

fn wnid(class: usize) -> String {
    // Not in order, so that sorting shows.
    format!("n{:08}", class * 7 % 20)
}

/// Files of a set with two training pictures and one validation picture a class.
fn small() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut annotations = String::new();
    for class in 0..20 {
        let id = wnid(class);
        let number: usize = id[1..].parse().unwrap();
        for picture in [2, 10] {
            files.push((
                format!("train/{id}/images/{id}_{picture}.JPEG"),
                grey(64, (100 + number + picture) as u8),
            ));
        }
        files.push((format!("val/images/val_{class}.JPEG"), grey(64, (30 + number) as u8)));
        annotations += &format!("val_{class}.JPEG\t{id}\t0\t0\t63\t63\n");
    }
    files.push(("val/val_annotations.txt".to_owned(), annotations.into_bytes()));
    files.push(("wnids.txt".to_owned(), (0..20).map(|c| wnid(c) + "\n").collect::<String>().into_bytes()));
    files.push(("words.txt".to_owned(), b"n00000003\ttabby, tabby cat\n".to_vec()));
    files
}

fn write(root: &Path, set: &str, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = root.join(set).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn check(root: &Path) {
    let test = load(root, SET, Split::Test, usize::MAX).unwrap();
    assert_eq!(test.labels, (0..20).collect::<Vec<u16>>());
    (0..20).for_each(|i| assert!(test.picture(i).iter().all(|&p| p == 30 + i as u8), "{i}"));
    let train = load(root, SET, Split::Train, 25).unwrap();
    assert_eq!(train.labels, [(0..20).collect::<Vec<u16>>(), (0..5).collect()].concat());
    assert_eq!(
        (train.picture(19)[0], train.picture(20)[64 * 64], train.picture(24)[3 * 64 * 64 - 1]),
        (121, 110, 114)
    );
    let names = class_names(root, SET).unwrap();
    assert_eq!((names[3].as_str(), names[4].as_str()), ("tabby", "n00000004"));
}

#[test]
fn folders_and_archives_hold_the_same() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), SET.name(), &small());
    check(root.path());

    let packed = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in small() {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{SET}/{name}"), bytes.as_slice()).unwrap();
    }
    let archive = ruzstd::encoding::compress_to_vec(
        builder.into_inner().unwrap().as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    write(packed.path(), SET.name(), &[(format!("{SET}.tar.zst"), archive)]);
    check(packed.path());
}

#[test]
fn imagenet_is_scaled_and_cut() {
    let root = tempfile::tempdir().unwrap();
    let class = |c: usize| (format!("val/n{c:08}/a.JPEG"), grey(300, (c % 200) as u8));
    write(root.path(), "imagenet", &(0..1000).map(class).collect::<Vec<_>>());
    let some = load(root.path(), DataSetKind::Imagenet, Split::Test, 3).unwrap();
    assert_eq!((some.shape, some.labels.as_slice()), (DataSetKind::Imagenet.shape(), &[0, 1, 2][..]));
    assert!(some.picture(2).iter().all(|&p| p == 2));
}

#[test]
fn faults_name_the_file_and_what_would_do() {
    let root = tempfile::tempdir().unwrap();
    let error = |set, split| load(root.path(), set, split, usize::MAX).unwrap_err().to_string();
    let missing = error(SET, Split::Test);
    assert!(
        missing.contains("wnids.txt")
            && missing.contains("tiny-imagenet-20.tar.zst")
            && missing.contains("the right data folder"),
        "{missing}"
    );
    assert!(error(DataSetKind::Imagenet, Split::Test).contains("val/WNID/*.JPEG"));
    write(root.path(), SET.name(), &[("tiny-imagenet-20.tar.zst".to_owned(), b"no archive".to_vec())]);
    assert!(error(SET, Split::Test).contains("no Zstandard file"));
    write(root.path(), SET.name(), &small());
    let place = "val/images/val_3.JPEG".to_owned();
    write(root.path(), SET.name(), &[(place.clone(), grey(32, 5))]);
    assert!(
        error(SET, Split::Test).contains("32×32 pixels, tiny-imagenet-20 has 64×64"),
        "{}",
        error(SET, Split::Test)
    );
    write(root.path(), SET.name(), &[(place, b"no picture".to_vec())]);
    assert!(error(SET, Split::Test).contains("val_3.JPEG"));
    write(root.path(), SET.name(), &[("wnids.txt".to_owned(), b"n1\nn2\n".to_vec())]);
    assert!(error(SET, Split::Train).contains("2 classes, but tiny-imagenet-20 has 20"));
}
