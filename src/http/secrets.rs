//! What a server says of an error may repeat what it was sent. Whoever shows it, shows it without the request's secrets.

use reqwest::header::{AUTHORIZATION, HeaderValue};

/// Shortest secret that is looked for: less could be part of any word.
const SHORTEST: usize = 8;

/// Shortest part of an `Authorization` header that is looked for: the names of its parts and its algorithm are no secrets.
const SHORTEST_PART: usize = 20;

/// Headers whose values are secrets, whether they are marked so or not.
const HEADERS: [&str; 2] = ["x-amz-security-token", "x-auth-token"];

/// Parameters of signed URLs.
const PARAMETERS: [&str; 3] = ["X-Amz-Signature", "X-Amz-Security-Token", "sig"];

/// The secrets of one request: kept as they are, and only looked for when there is something to show.
#[derive(Debug)]
pub(super) struct Secrets {
    headers: Vec<HeaderValue>,
    authorization: Option<HeaderValue>,
    /// If it has parameters.
    url: Option<reqwest::Url>,
}

impl Secrets {
    pub(super) fn of(request: &reqwest::Request) -> Self {
        let headers = request.headers();
        let marked = headers.values().filter(|value| value.is_sensitive());
        let named = HEADERS.iter().filter_map(|name| headers.get(*name));
        Self {
            headers: marked.chain(named).cloned().collect(),
            authorization: headers.get(AUTHORIZATION).cloned(),
            url: request.url().query().map(|_| request.url().clone()),
        }
    }

    /// A text without them.
    pub(super) fn hidden_in(&self, text: Vec<u8>) -> Vec<u8> {
        self.all().iter().fold(text, |text, secret| match std::str::from_utf8(&text) {
            Ok(readable) if readable.contains(secret) => readable.replace(secret, "***").into_bytes(),
            _ => text,
        })
    }

    /// The longest first: a part of one is no reason to leave the rest of it.
    fn all(&self) -> Vec<String> {
        let authorization = self.authorization.as_ref().and_then(text);
        let parts: Vec<String> = authorization.iter().flat_map(|value| parts(value)).collect();
        let signed = self.url.iter().flat_map(reqwest::Url::query_pairs);
        let signed = signed.filter(|(name, _)| PARAMETERS.contains(&&**name)).map(|(_, value)| value.into_owned());
        let secrets = self.headers.iter().filter_map(text).chain(authorization).chain(signed);
        let mut secrets: Vec<String> = secrets.filter(|secret| secret.len() >= SHORTEST).chain(parts).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// The parts of an `Authorization` that may be secrets: signature, token, access key.
fn parts(authorization: &str) -> impl Iterator<Item = String> {
    authorization.split([' ', ',', '=', ':']).filter(|part| part.len() >= SHORTEST_PART).map(str::to_owned)
}

fn text(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(url: &str, headers: &[(&'static str, &str)], said: &str) -> String {
        let mut request = reqwest::Request::new(reqwest::Method::GET, url.parse().expect("a URL"));
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        String::from_utf8(Secrets::of(&request).hidden_in(said.into())).expect("UTF-8")
    }

    #[test]
    fn no_secret_of_the_request_is_repeated() {
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261125/eu-1/s3/aws4_request, SignedHeaders=host, Signature={signature}"
        );
        for (url, headers, said, shown) in [
            ("http://h/", vec![("authorization", &*signed)], signed.clone(), "***"),
            ("http://h/", vec![("authorization", &*signed)], format!("got {signature}!"), "got ***!"),
            (
                "http://h/",
                vec![("authorization", &*signed)],
                "AWS4-HMAC-SHA256 is not known".to_owned(),
                "AWS4-HMAC-SHA256 is not known",
            ),
            (
                "http://h/",
                vec![("authorization", "Bearer ya29.c.b0Aaekm1K8ssrRqz")],
                "no ya29.c.b0Aaekm1K8ssrRqz here".to_owned(),
                "no *** here",
            ),
            (
                "http://h/",
                vec![("authorization", "SharedKey acct:4QwTyGmJsSx1mmxuA9Wj0x7mS0Cq0Y2bZ1J8=")],
                "4QwTyGmJsSx1mmxuA9Wj0x7mS0Cq0Y2bZ1J8= differs".to_owned(),
                "***= differs",
            ),
            (
                "http://h/",
                vec![("x-amz-security-token", "FwoGZXIvYXdzE")],
                "FwoGZXIvYXdzE ended".to_owned(),
                "*** ended",
            ),
            ("http://h/a?sig=Zm9vYmFyYmF6&se=2026", vec![], "Zm9vYmFyYmF6 is wrong".to_owned(), "*** is wrong"),
        ] {
            assert_eq!(hidden(url, &headers, &said), shown, "{said}");
        }
        assert_eq!(hidden("http://h/", &[("x-auth-token", "short")], "a short one"), "a short one");
    }
}
