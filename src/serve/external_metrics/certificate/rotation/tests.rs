//! Years of certificates, day by day, and the take-over of a Secret of version 0.1.

use super::super::verify_certificate;
use super::*;

const NAME: &str = "metrics.paceline.svc";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn names() -> Vec<String> {
    vec![NAME.to_owned()]
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn is_trusted(content: &ServingSecret, bundle: &str, now: Timestamp) -> bool {
    verify_certificate(&content.pair().certificate_chain_pem, bundle, NAME, now).is_ok()
}

fn written(content: &ServingSecret) -> Entries {
    let mut data = Entries::new();
    content.write(&mut data);
    data
}

/// What three years came to.
struct Course {
    writes: usize,
    most_trusted: usize,
    /// Days on which the APIService's bundle did not trust what was served.
    not_trusted: usize,
    /// Days on which the Secret's bundle did not trust what a slow replica may still serve.
    broken: usize,
}

/// Three years from day to day, through the Secret's data each time. The APIService follows so long after each write, or
/// never after the first one.
fn live(follows_after: Option<Duration>) -> Course {
    let (names, lifetimes) = (names(), Lifetimes::default());
    let mut now = start();
    let mut content = ServingSecret::new(&names, &lifetimes, now).unwrap();
    let (mut bundle, mut written_at, mut trusted_since) = (content.bundle(), now, None);
    let mut alive = vec![content.clone()];
    let mut course = Course { writes: 0, most_trusted: 1, not_trusted: 0, broken: 0 };
    for _ in 0..3 * 365 {
        now = now.checked_add(DAY).unwrap();
        let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap();
        if follows_after.is_some_and(|delay| since(written_at) >= delay) {
            bundle = content.bundle();
        }
        trusted_since = content.next_is_in(&bundle).then(|| trusted_since.unwrap_or(now));
        match content.step(&names, &lifetimes, trusted_since.map(since), now).unwrap() {
            RotationStep::Wait(until) => assert!(until > now, "it never asks to be called at once: {until} at {now}"),
            RotationStep::Write(new, _) => {
                content = ServingSecret::read(&written(&new)).unwrap();
                alive.push(content.clone());
                written_at = now;
                course.writes += 1;
            }
        }
        course.most_trusted = course.most_trusted.max(content.trusted.len());
        course.not_trusted += usize::from(!is_trusted(&content, &bundle, now));
        alive.retain(|old| old.not_after() > now);
        let own = content.bundle();
        course.broken += usize::from(!alive.iter().all(|old| is_trusted(old, &own, now)));
    }
    course
}

#[test]
fn for_three_years_what_is_served_is_trusted_however_late_the_api_service_follows() {
    for delay in [Duration::ZERO, DAY, 25 * DAY] {
        let course = live(Some(delay));
        assert_eq!((course.not_trusted, course.broken), (0, 0), "{delay:?}");
        assert_eq!(course.most_trusted, 2, "{delay:?}");
        // Four to six certificates a year, and three writes for each: announced, served, the old one removed.
        assert!((33..=57).contains(&course.writes), "{delay:?}: {} writes", course.writes);
    }
}

#[test]
fn an_api_service_that_never_follows_does_not_stop_the_renewal() {
    let course = live(None);
    assert_eq!(course.broken, 0);
    assert!((20..=57).contains(&course.writes), "{} writes", course.writes);
    // The first certificate is trusted as long as it lives.
    assert!((1000..=1010).contains(&course.not_trusted), "{} days", course.not_trusted);
}

/// A pair that an authority has signed, with the authority's certificate and key, as version 0.1 made them.
fn old_secret(now: Timestamp) -> Entries {
    let (epoch, seconds) = (rcgen::date_time_ymd(1970, 1, 1), |at: i64| Duration::from_secs(at as u64));
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    authority.not_after = epoch + seconds(now.as_second()) + 700 * DAY;
    authority.not_before = epoch + seconds(now.as_second()) - DAY;
    let key = rcgen::KeyPair::generate().unwrap();
    let (pem, ca_key) = (authority.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let issuer = rcgen::Issuer::new(authority, key);
    let mut serving = rcgen::CertificateParams::new(names()).unwrap();
    serving.not_before = epoch + seconds(now.as_second()) - DAY;
    serving.not_after = epoch + seconds(now.as_second()) + 80 * DAY;
    let key = rcgen::KeyPair::generate().unwrap();
    let serving = serving.signed_by(&key, &issuer).unwrap().pem();
    let entries = [
        ("tls.crt", serving),
        ("tls.key", key.serialize_pem()),
        ("ca.crt", pem),
        ("ca.key", ca_key),
        ("mine", "x".into()),
    ];
    entries.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
}

#[test]
fn a_secret_of_version_0_1_is_served_until_its_successor_is_trusted() {
    let (names, lifetimes, now) = (names(), Lifetimes::default(), start());
    let mut data = old_secret(now);
    let old = ServingSecret::read(&data).unwrap();
    let old_bundle = old.bundle();
    assert!(is_trusted(&old, &old_bundle, now));

    let RotationStep::Write(announced, _) = old.step(&names, &lifetimes, None, now).unwrap() else { panic!("not due") };
    announced.write(&mut data);
    let announced = ServingSecret::read(&data).unwrap();
    assert_eq!(announced.pair(), old.pair(), "what is served does not change yet");
    assert!(announced.bundle().starts_with(&old_bundle), "and is trusted all the while");
    assert!(!announced.next_is_in(&old_bundle) && announced.next_is_in(&announced.bundle()));
    assert!(data.contains_key("ca.key"), "a replica of the old version can read it");
    for trusted_for in [None, Some(lifetimes.settle - Duration::from_secs(1))] {
        let step = announced.step(&names, &lifetimes, trusted_for, now).unwrap();
        assert!(matches!(step, RotationStep::Wait(_)), "{trusted_for:?}");
    }

    let step = announced.step(&names, &lifetimes, Some(lifetimes.settle), now).unwrap();
    let RotationStep::Write(served, _) = step else { panic!("it is not served") };
    served.write(&mut data);
    let served = ServingSecret::read(&data).unwrap();
    assert!(is_trusted(&served, &announced.bundle(), now));
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ca.crt", "mine", "tls.crt", "tls.key"], "the authority's key is gone");
    let RotationStep::Wait(until) = served.step(&names, &lifetimes, None, now).unwrap() else { panic!("not settled") };
    assert!(until > now.checked_add(50 * DAY).unwrap());
}
