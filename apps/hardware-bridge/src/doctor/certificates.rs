//! The four certificate files: there, readable, belonging together, of the right names, and for how long.

use std::path::Path;

use spandrel_bridge_service::{CERTIFICATE_FILES, KEY_FILE, load_certificates};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::{PUBLIC_NAMES, Report};

const DAY_S: i64 = 86_400;
/// Renewal takes a while to reach every machine.
const SOON_DAYS: i64 = 30;

/// Returns whether the bridge would serve TLS.
pub(super) fn examine(report: &mut Report, dir: &Path, now_s: i64) -> bool {
    let all: Vec<&str> = CERTIFICATE_FILES.into_iter().chain([KEY_FILE]).collect();
    let missing: Vec<&str> = all.iter().copied().filter(|name| dir.join(name).metadata().is_err()).collect();
    if missing.len() == all.len() {
        report.note(format!(
            "none in {}: plain HTTP; pages over https may then be kept from connecting by the browser",
            dir.display()
        ));
        return false;
    }
    if !missing.is_empty() {
        report.wrong(format!(
            "{} lacks {}: plain HTTP although other files are there; all four of {} are needed",
            dir.display(),
            missing.join(", "),
            all.join(", ")
        ));
        return false;
    }
    match load_certificates(dir) {
        Ok(Some(server)) => {
            report
                .good(format!("all four of {} can be used, and the key is the certificate's", dir.display()));
            for warning in server.warnings() {
                // Where every user of the machine runs the bridge, each of them has to read it.
                report.note(warning.to_string());
            }
        }
        Ok(None) => return false,
        Err(error) => {
            report.wrong(error.to_string());
            return false;
        }
    }
    let read = CERTIFICATE_FILES.map(|name| (name, std::fs::read(dir.join(name)).unwrap_or_default()));
    let pems: Vec<(&str, Vec<Pem>)> = read
        .iter()
        .map(|(name, text)| (*name, Pem::iter_from_buffer(text).filter_map(Result::ok).collect()))
        .collect();
    let mut chain = Vec::new();
    for (name, pem) in pems.iter().flat_map(|(name, pems)| pems.iter().map(move |pem| (*name, pem))) {
        match pem.parse_x509() {
            // A file may hold the rest of the chain already.
            Ok(certificate) if chain.iter().any(|(_, known)| *known == certificate) => {}
            Ok(certificate) => chain.push((name, certificate)),
            Err(error) => report.wrong(format!("{name}: a certificate cannot be read: {error}")),
        }
    }
    for (name, certificate) in &chain {
        validity(report, name, certificate, now_s);
    }
    order(report, &chain);
    if let Some((name, own)) = chain.first() {
        names(report, name, own);
    }
    true
}

fn validity(report: &mut Report, name: &str, certificate: &X509Certificate<'_>, now_s: i64) {
    let validity = certificate.validity();
    let who = common_name(certificate);
    let days = (validity.not_after.timestamp() - now_s).div_euclid(DAY_S);
    let until = validity.not_after;
    if validity.not_before.timestamp() > now_s {
        report.wrong(format!(
            "{name}: {who} is valid from {} on only; is the clock right?",
            validity.not_before
        ));
    } else if days < 0 {
        report.wrong(format!("{name}: {who} expired {} days ago ({until}): renew it", -days));
    } else if days < SOON_DAYS {
        report
            .note(format!("{name}: {who} expires in {days} days ({until}): renew it; no restart is needed"));
    } else {
        report.good(format!("{name}: {who}, {days} days left ({until})"));
    }
}

/// Each certificate is signed by the next: browsers do not sort.
fn order(report: &mut Report, chain: &[(&str, X509Certificate<'_>)]) {
    let mut is_right = true;
    for pair in chain.windows(2) {
        let [(name, own), (above, issuer)] = pair else { continue };
        if own.issuer() != issuer.subject() {
            is_right = false;
            report.wrong(format!(
                "{name} is signed by {}, but {above} is {}: put the signer's certificate there",
                own.issuer(),
                issuer.subject()
            ));
        }
    }
    if is_right {
        report.good("each certificate is signed by the next of cert.pem, ChainCA1.crt, RootCA.crt");
    }
}

fn names(report: &mut Report, file: &str, own: &X509Certificate<'_>) {
    let listed: Vec<String> = own
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    for name in PUBLIC_NAMES {
        if listed.iter().any(|pattern| covers(pattern, name)) {
            report.good(format!("{file} is for {name}"));
        } else {
            let listed = if listed.is_empty() { "no name".to_owned() } else { listed.join(", ") };
            report.wrong(format!(
                "{file} is for {listed}, not for {name}: pages that dial that name refuse it"
            ));
        }
    }
}

/// RFC 6125: a star is one whole label, the first.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(_, parent)| parent == rest),
        None => pattern == name,
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().to_string().chars().filter(|c| !c.is_control()).take(80).collect()
}
