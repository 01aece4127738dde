//! Who may look and give orders over the admin listener: everybody on this machine, and from elsewhere who shows a
//! token, as a bearer or, in a browser, as the password of any name.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::tokens::Tokens;

/// The file of a node that listens for others and was told of no other file; in the data folder.
pub const OWN_FILE: &str = "admin-token";

/// What a probe may ask without a token: yes or no.
const OPEN: [&str; 2] = ["/live", "/ready"];

/// Calls that show tokens of their own.
const OWN_TOKENS: &str = "/publish/";

/// The tokens of operators.
pub struct Guard {
    tokens: Tokens,
}

impl Guard {
    /// The guard of a listener at `address`: the tokens of `file`, or, where others than this machine may come, those
    /// of a file in `data`, which is made with one token when it is not there. Nothing else is said of who may come,
    /// for a listener of this machine only: nobody is asked there.
    ///
    /// # Errors
    /// What is wrong with the file, in a sentence.
    pub fn of(
        address: SocketAddr,
        file: Option<&Path>,
        data: &Path,
    ) -> Result<Option<Guard>, String> {
        let file = match file {
            Some(file) => file.to_owned(),
            None if address.ip().to_canonical().is_loopback() => return Ok(None),
            None => own_file(data)?,
        };
        let tokens = Tokens::read(&file)?;
        tracing::info!(file = %file.display(), "from other machines the admin listener asks for a token of this file");
        Ok(Some(Guard { tokens }))
    }

    fn admits(&self, peer: IpAddr, path: &str, authorization: Option<&str>) -> bool {
        peer.to_canonical().is_loopback()
            || OPEN.contains(&path)
            || path.starts_with(OWN_TOKENS)
            || authorization.is_some_and(|shown| {
                self.tokens.name(shown).is_some() || self.tokens.password(shown).is_some()
            })
    }
}

/// Draws a token, once.
fn own_file(data: &Path) -> Result<PathBuf, String> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = data.join(OWN_FILE);
    if path.exists() {
        return Ok(path);
    }
    let mut chance = [0; 20];
    getrandom::fill(&mut chance).map_err(|why| why.to_string())?;
    let token: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "# Who operates this node from other machines: name:token, a line each.\noperator:{token}\n"
    );
    // Whole or not at all: a node that dies here begins anew.
    let half = data.join(format!("{OWN_FILE}.new"));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&half, &path));
    written.map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(path)
}

/// Lets a request pass, or asks for a token.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if guard.admits(peer.ip(), request.uri().path(), shown) {
        return next.run(request).await;
    }
    let ask = [(
        header::WWW_AUTHENTICATE,
        "Basic realm=\"Lamplight\", charset=\"UTF-8\"",
    )];
    let error = json!({
        "error": "from another machine this needs a token: Authorization: Bearer …, or any name with the token as \
                  password; the node's log names the file (--token-file for lamplight pool)"
    });
    (StatusCode::UNAUTHORIZED, ask, Json(error)).into_response()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const ELSEWHERE: &str = "192.0.2.7:8060";

    #[test]
    fn a_listener_for_others_draws_a_token_once() {
        let data = tempfile::tempdir().expect("a folder");
        let of = |address: &str| {
            let address = address.parse().expect("an address");
            Guard::of(address, None, data.path()).expect("it can be written")
        };
        assert!(of("127.0.0.1:8060").is_none() && of("[::1]:8060").is_none());
        assert!(!data.path().join(OWN_FILE).exists());
        assert!(of(ELSEWHERE).is_some());
        let path = data.path().join(OWN_FILE);
        let text = std::fs::read_to_string(&path).expect("it is there");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &path.metadata().expect("it is there").permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "for the operator's eyes");
        let guard = of("0.0.0.0:8060").expect("a guard");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
        let token = text.trim().rsplit(':').next().expect("a token");
        let peer: IpAddr = "192.0.2.7".parse().expect("an address");
        assert!(guard.admits(peer, "/pool", Some(&format!("Bearer {token}"))));
    }

    #[test]
    fn only_who_shows_a_token_comes_from_elsewhere() {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join("tokens");
        std::fs::write(&file, "ann:0123456789abcdef0123\n").expect("written");
        let guard = Guard::of(
            "127.0.0.1:1".parse().expect("an address"),
            Some(&file),
            data.path(),
        )
        .expect("sound")
        .expect("a guard");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let right = basic("whoever:0123456789abcdef0123");
        for (peer, path, shown, admitted) in [
            ("127.0.0.1", "/pool", None, true),
            ("::ffff:127.0.0.1", "/pool", None, true),
            ("192.0.2.7", "/live", None, true),
            ("192.0.2.7", "/ready", None, true),
            ("192.0.2.7", "/publish/sip:a@b/x", None, true),
            ("192.0.2.7", "/pool", None, false),
            ("192.0.2.7", "/", None, false),
            ("192.0.2.7", "/metrics", None, false),
            ("192.0.2.7", "/live/../pool", None, false),
            (
                "192.0.2.7",
                "/pool",
                Some("Bearer 0123456789abcdef0123"),
                true,
            ),
            (
                "192.0.2.7",
                "/pool",
                Some("bearer 0123456789abcdef0123"),
                true,
            ),
            (
                "192.0.2.7",
                "/pool",
                Some("Bearer 0123456789abcdef012"),
                false,
            ),
            ("192.0.2.7", "/pool", Some("Bearer "), false),
            ("192.0.2.7", "/pool", Some(&*right), true),
            (
                "192.0.2.7",
                "/pool",
                Some(&*basic("ann:0123456789abcdef0124")),
                false,
            ),
            (
                "192.0.2.7",
                "/pool",
                Some(&*basic("0123456789abcdef0123")),
                false,
            ),
            ("192.0.2.7", "/pool", Some("Basic %%%"), false),
        ] {
            let peer = peer.parse().expect("an address");
            assert_eq!(
                guard.admits(peer, path, shown),
                admitted,
                "{peer} {path} {shown:?}"
            );
        }
    }
}
