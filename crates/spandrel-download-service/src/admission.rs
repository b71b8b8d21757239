//! What a new connection proves itself by, and which layers it gets (protocol section 13).

use spandrel_crypto::{SecretKey, decode_base64url_array, derive, encode_base64url};
use spandrel_download_protocol::{CloseCode, Subprotocol};
use spandrel_jobs::Principal;
use spandrel_session::{KeyId, LABEL, Layers, LayersConfig, SealKeys, Sealing, Side, Signer, Signing};
use tokio::sync::watch;

use crate::auth::{Key, Proof};
use crate::service::{Inner, random};
use crate::standing::Standing;

/// Somebody known before the session began: by headers, or as the parent of this process.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) principal: Principal,
    pub(crate) proof: Proof,
    /// Watched from before that was found out.
    pub(crate) rechecks: watch::Receiver<()>,
}

/// A connection that was let in.
pub(crate) struct Session {
    pub(crate) principal: Principal,
    pub(crate) standing: Standing,
    pub(crate) layers: Layers,
    /// Has to show with its first message that it has a key.
    pub(crate) is_stranger: bool,
    /// For the hello of a sealed session.
    pub(crate) server_nonce: Option<String>,
}

/// Why not, as a close code and its reason.
pub(crate) type Refused = (CloseCode, &'static str);

const BAD_KID: Refused = (CloseCode::BAD_PARAMETERS, "kid is missing or not 1 to 32 of A-Z a-z 0-9 _ -");
const BAD_CN: Refused = (CloseCode::BAD_PARAMETERS, "cn is missing or not 16 bytes of base64url");
const NO_PROOF: Refused = (CloseCode::AUTH_FAILED, "authentication failed");
const NO_RANDOM: Refused = (CloseCode::INTERNAL, "no random numbers");

/// Whether a query asks for a session by key.
pub(crate) fn has_kid(query: Option<&str>) -> bool {
    !matches!(only(query, "kid"), Ok(None))
}

/// Lets a connection in, or says why not. What `known` proved counts before a `kid`.
pub(crate) fn admit(
    inner: &Inner,
    protocol: Subprotocol,
    known: Option<Known>,
    query: Option<&str>,
) -> Result<Session, Refused> {
    let needs_key = protocol.has_aes();
    let known = match known {
        Some(Known { principal, proof, rechecks }) if !needs_key => {
            let (standing, layers) =
                (Standing::new(rechecks, proof, None), layers(inner, protocol, None, None));
            return Ok(Session { principal, standing, layers, is_stranger: false, server_nonce: None });
        }
        known => known,
    };
    let rechecks = inner.rechecks.subscribe();
    let kid = only(query, "kid").map_err(|()| BAD_KID)?;
    let kid = kid.map(|kid| KeyId::new(kid).map_err(|_| BAD_KID)).transpose()?;
    let is_open = inner.config.auth.is_open();
    let Some(kid) = kid else {
        return match (needs_key, is_open) {
            (true, _) => Err(BAD_KID),
            (false, false) => Err(NO_PROOF),
            (false, true) => Ok(Session {
                principal: Principal::anonymous(),
                standing: Standing::new(rechecks, Proof::Nothing, None),
                layers: layers(inner, protocol, None, None),
                is_stranger: false,
                server_nonce: None,
            }),
        };
    };
    let client_nonce = if needs_key { Some(client_nonce(query)?) } else { None };
    // A key that is not there is made up, always: whether it was needed cannot be told from outside.
    let decoy = decoy(&inner.decoy, &kid);
    let real = inner.config.auth.key(&kid, inner.wall_ms());
    let key = real.as_ref().unwrap_or(&decoy);
    // With another proof at hand, and without the need of one, messages inside a seal need no signature.
    let signing =
        if needs_key && (is_open || known.is_some()) { Signing::IfPeerDoes } else { Signing::Required };
    let signer = Signer { kid, key: key.signing().clone(), mode: signing };
    let (seal, server_nonce) = match client_nonce {
        None => (None, None),
        Some(client_nonce) => {
            let server_nonce = random().map_err(|_| NO_RANDOM)?;
            let seal = SealKeys::derive(key.secret(), &client_nonce, &server_nonce);
            (Some(seal), Some(encode_base64url(&server_nonce)))
        }
    };
    let layers = layers(inner, protocol, seal, Some(signer));
    let is_stranger = !is_open && known.is_none();
    let (principal, proof, rechecks) = match known {
        Some(Known { principal, proof, rechecks }) => (principal, proof, rechecks),
        None => (key.principal().clone(), Proof::Nothing, rechecks),
    };
    let standing = Standing::new(rechecks, proof, real);
    Ok(Session { principal, standing, layers, is_stranger, server_nonce })
}

fn layers(inner: &Inner, protocol: Subprotocol, seal: Option<SealKeys>, signer: Option<Signer>) -> Layers {
    let mut config = LayersConfig::new(Side::Server);
    config.deflates = protocol.has_deflate();
    config.sealing = seal.map_or(Sealing::Off, Sealing::Keys);
    config.signer = signer;
    config.message_bytes_max = inner.config.sessions.protocol.message_bytes_max;
    Layers::new(config)
}

/// A key that nobody has, the same whenever this id is asked for.
fn decoy(secret: &SecretKey, kid: &KeyId) -> Key {
    let made_up = derive(secret, LABEL.as_bytes(), kid.as_str().as_bytes());
    Key::new(kid.clone(), made_up, Principal::anonymous())
}

fn client_nonce(query: Option<&str>) -> Result<[u8; 16], Refused> {
    let text = only(query, "cn").ok().flatten().ok_or(BAD_CN)?;
    decode_base64url_array(text).map_err(|_| BAD_CN)
}

/// A parameter as it stands in the query; neither ids nor nonces need escapes. An error when it is there twice.
fn only<'q>(query: Option<&'q str>, name: &str) -> Result<Option<&'q str>, ()> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(n, _)| *n == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value),
    }
}
