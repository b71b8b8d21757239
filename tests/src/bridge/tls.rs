//! Certificates for the scripts: a root, what it signed, and the leaf that the bridge serves.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// The files a bridge looks for.
const FILES: [&str; 4] = ["hardware.key", "cert.pem", "ChainCA1.crt", "RootCA.crt"];

/// A folder with the four files, ready to be served.
pub(super) fn chain_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), "one");
    folder
}

/// A folder with two chains, in `one` and `two`, whose names say which is which.
pub(super) fn work_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["one", "two"] {
        let into = folder.path().join(name);
        std::fs::create_dir(&into).expect("a folder");
        write(&into, name);
    }
    folder
}

fn write(folder: &Path, name: &str) {
    let authority = |common: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{common} {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params, KeyPair::generate().expect("a key"))
    };
    let (root_params, root_key) = authority("Root");
    let root = root_params.self_signed(&root_key).expect("a root");
    let root_issuer = Issuer::new(root_params, root_key);
    let (middle_params, middle_key) = authority("Middle");
    let middle = middle_params.signed_by(&middle_key, &root_issuer).expect("a certificate");
    let middle_issuer = Issuer::new(middle_params, middle_key);

    let names = ["hw.playentry.org", "hardware.playentry.org", "localhost", "127.0.0.1"];
    let mut params = CertificateParams::new(names.map(str::to_owned)).expect("names");
    params.distinguished_name.push(DnType::CommonName, format!("Leaf {name}"));
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &middle_issuer).expect("a leaf");

    let contents = [key.serialize_pem(), leaf.pem(), middle.pem(), root.pem()];
    for (file, content) in FILES.iter().zip(contents) {
        std::fs::write(folder.join(file), content).expect("written");
    }
}
