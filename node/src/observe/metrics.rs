//! Counters and histograms, cheap where they are moved, read at scrape time.
//!
//! Everything here is a relaxed atomic; names and labels exist only while somebody scrapes. What others
//! count for themselves (workers, the log, the shards) is asked of them then.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use transport::sip::Method;

use super::refusals::Refusals;

/// Methods that are counted by name; the rest together.
const METHODS: [&str; 7] = [
    "REGISTER",
    "PUBLISH",
    "SUBSCRIBE",
    "OPTIONS",
    "NOTIFY",
    "SERVICE",
    "other",
];

/// Statuses that are counted by number; the rest by their class.
const STATUSES: [u16; 22] = [
    200, 400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 416, 420, 423, 429, 481, 483, 489, 500,
    501, 503, 505,
];

/// Classes of the statuses that are not counted by number.
const CLASSES: usize = 7;

/// Why work was refused or left: a closed list, so that it can be a label.
const REASONS: [&str; 10] = [
    "overload",
    "no-outcome",
    "watcher-gone",
    "illegible-route",
    "ignored",
    "blustar-unproven",
    "challenge-ignored",
    "publish-token",
    "overtaken",
    "no-trigger",
];

/// What becomes of a NOTIFY that wants an answer: a closed list, so that it can be a label.
const FATES: [(Fate, &str); 5] = [
    (Fate::Taken, "taken"),
    (Fate::Refused, "refused"),
    (Fate::Unanswered, "unanswered"),
    (Fate::Unreachable, "unreachable"),
    (Fate::Replaced, "replaced"),
];

/// What became of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The watcher said yes.
    Taken,
    /// It said no.
    Refused,
    /// It said nothing for 32 seconds.
    Unanswered,
    /// There is no way to it.
    Unreachable,
    /// A newer one took its place before it left.
    Replaced,
}

/// Buckets of a histogram: powers of two from 1, so 2²⁰ ms are 17 minutes, and 2²⁴ µs are 17 seconds.
const BUCKETS: usize = 25;

/// Counts values by powers of two.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// Counts how long something took, in microseconds.
    pub fn record_since(&self, begin: Instant) {
        let took = begin.elapsed().as_micros();
        self.record(u64::try_from(took).unwrap_or(u64::MAX));
    }

    /// Counts a value, in whatever unit the histogram is shown in.
    pub fn record(&self, value: u64) {
        // 0 and 1 are in the first, 2 in the second, 3 and 4 in the third.
        let place = if value <= 1 {
            0
        } else {
            (64 - (value - 1).leading_zeros()) as usize
        };
        self.buckets[place.min(BUCKETS)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted {
            buckets: self.buckets.iter().map(|of| of.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// What a histogram has counted.
#[derive(Clone, Debug)]
pub struct Counted {
    buckets: Vec<u64>,
    sum: u64,
}

/// A source that is asked at scrape time: pushes (name, help, labels, value, whether it only grows).
pub type Source = Box<dyn Fn(&mut Vec<Sample>) + Send + Sync>;

/// A source of histograms that is asked at scrape time.
pub type SpreadSource = Box<dyn Fn(&mut Vec<Spread>) + Send + Sync>;

/// A histogram of a source.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The metric's name, without the product's prefix.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// One label, where it tells several of a kind apart.
    pub label: Option<(&'static str, String)>,
    /// What was counted.
    pub counted: Counted,
    /// What one of the units that were counted is in those that are shown: 1e-6 from microseconds to seconds.
    pub scale: f64,
}

/// One value of a source.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The metric's name, without the product's prefix.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// One label, where it tells several of a kind apart.
    pub label: Option<(&'static str, String)>,
    /// Its value.
    pub value: u64,
    /// Whether it only grows.
    pub grows: bool,
}

/// The metrics of a node.
#[derive(Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUSES.len() + CLASSES]; METHODS.len()],
    reasons: [AtomicU64; REASONS.len()],
    fates: [AtomicU64; FATES.len()],
    unheard: AtomicU64,
    notify_lag: Histogram,
    queue_delay: Histogram,
    fan_out: Histogram,
    slot_freeze: Histogram,
    sources: Mutex<Vec<Source>>,
    spreads: Mutex<Vec<SpreadSource>>,
    /// What was refused lately.
    pub refusals: Refusals,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A request was answered.
    pub fn request(&self, method: &Method, status: u16) {
        let method = match method {
            Method::Register => 0,
            Method::Publish => 1,
            Method::Subscribe => 2,
            Method::Options => 3,
            Method::Notify => 4,
            Method::Service => 5,
            _ => 6,
        };
        let status = STATUSES
            .iter()
            .position(|known| *known == status)
            .unwrap_or(STATUSES.len() + usize::from(status / 100).min(CLASSES - 1));
        self.requests[method][status].fetch_add(1, Relaxed);
    }

    /// From a request's arrival to its answer, in milliseconds.
    pub fn queue_delay_ms(&self, ms: u64) {
        self.queue_delay.record(ms);
    }

    /// From the entry's time to the notification's writing, in milliseconds.
    pub fn notify_lag_ms(&self, ms: u64) {
        self.notify_lag.record(ms);
    }

    /// How many watchers one change was told to.
    pub fn fan_out(&self, watchers: usize) {
        self.fan_out.record(watchers as u64);
    }

    /// For how long a slot was served by nobody while it moved, in milliseconds.
    pub fn slot_freeze_ms(&self, ms: u64) {
        self.slot_freeze.record(ms);
    }

    /// A NOTIFY that wanted an answer has come to its end.
    pub fn notified(&self, fate: Fate) {
        let place = FATES.iter().position(|(known, _)| *known == fate);
        self.fates[place.expect("the list has every fate")].fetch_add(1, Relaxed);
    }

    /// The subscriptions whose last NOTIFY reached nobody were `before`, and are `now`, with one worker.
    pub fn unheard(&self, before: usize, now: usize) {
        // Wraps where it falls, and is right again once both steps are taken.
        let change = (now as u64).wrapping_sub(before as u64);
        self.unheard.fetch_add(change, Relaxed);
    }

    /// A request was refused for our own reasons.
    pub fn rejected(&self, why: &'static str) {
        self.reason(why);
    }

    /// Something was left undone.
    pub fn dropped(&self, why: &'static str) {
        self.reason(why);
    }

    fn reason(&self, why: &'static str) {
        let place = REASONS
            .iter()
            .position(|known| *known == why)
            .expect("a reason of the closed list");
        self.reasons[place].fetch_add(1, Relaxed);
    }

    /// Adds a source that is asked at scrape time.
    pub fn add_source(&self, source: Source) {
        lock(&self.sources).push(source);
    }

    /// Adds a source of histograms that is asked at scrape time.
    pub fn add_spreads(&self, source: SpreadSource) {
        lock(&self.spreads).push(source);
    }

    /// Everything, as Prometheus reads it.
    #[must_use]
    pub fn text(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("lamplight");
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spread {
    fn write(&self, family: &mut MetricEncoder<'_>) -> fmt::Result {
        let bound = |place: usize| {
            if place == BUCKETS {
                f64::INFINITY
            } else {
                (1u64 << place) as f64 * self.scale
            }
        };
        let counts = &self.counted.buckets;
        let buckets: Vec<(f64, u64)> = counts
            .iter()
            .enumerate()
            .map(|(place, count)| (bound(place), *count))
            .collect();
        let (sum, count) = (self.counted.sum as f64 * self.scale, counts.iter().sum());
        match &self.label {
            None => family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None),
            Some(label) => family
                .encode_family(&[(label.0, label.1.clone())])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None),
        }
    }
}

#[derive(Debug)]
struct Scrape(Arc<Metrics>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let metrics = &*self.0;
        {
            let mut family = encoder.encode_descriptor(
                "requests",
                "Requests answered.",
                None,
                MetricType::Counter,
            )?;
            for (method, statuses) in METHODS.iter().zip(&metrics.requests) {
                for (place, count) in statuses.iter().enumerate() {
                    let count = count.load(Relaxed);
                    if count == 0 {
                        continue;
                    }
                    let status = match STATUSES.get(place) {
                        Some(status) => status.to_string(),
                        None => format!("{}xx", place - STATUSES.len()),
                    };
                    let labels = [("method", (*method).to_owned()), ("status", status)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        {
            let help = "Requests refused and notifications left, by reason.";
            let mut family =
                encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
            for (why, count) in REASONS.iter().zip(&metrics.reasons) {
                let labels = [("why", (*why).to_owned())];
                ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
            }
        }
        {
            let help = "What became of each NOTIFY that wants an answer.";
            let mut family =
                encoder.encode_descriptor("notified", help, None, MetricType::Counter)?;
            for ((_, result), count) in FATES.iter().zip(&metrics.fates) {
                let labels = [("result", (*result).to_owned())];
                ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
            }
        }
        {
            let help = "Subscriptions whose last NOTIFY reached nobody, within the last hour.";
            let family =
                encoder.encode_descriptor("zombie_subscriptions", help, None, MetricType::Gauge)?;
            ConstGauge::new(metrics.unheard.load(Relaxed)).encode(family)?;
        }
        let mut spreads: Vec<Spread> = [
            (
                "notify_lag_seconds",
                "From a change's log entry to the writing of its NOTIFY.",
                1e-3,
                &metrics.notify_lag,
            ),
            (
                "request_seconds",
                "From a request's arrival to its answer.",
                1e-3,
                &metrics.queue_delay,
            ),
            (
                "fan_out_watchers",
                "Watchers told of one change.",
                1.0,
                &metrics.fan_out,
            ),
            (
                "slot_freeze_seconds",
                "For how long a slot that this node moved was served by nobody.",
                1e-3,
                &metrics.slot_freeze,
            ),
        ]
        .into_iter()
        .map(|(name, help, scale, histogram)| Spread {
            name,
            help,
            label: None,
            counted: histogram.counted(),
            scale,
        })
        .collect();
        for source in lock(&metrics.spreads).iter() {
            source(&mut spreads);
        }
        spreads.sort_by_key(|spread| spread.name);
        for of_one in spreads.chunk_by(|one, other| one.name == other.name) {
            let (name, help) = (of_one[0].name, of_one[0].help);
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for spread in of_one {
                spread.write(&mut family)?;
            }
        }
        let mut samples = Vec::new();
        for source in lock(&metrics.sources).iter() {
            source(&mut samples);
        }
        samples.sort_by_key(|sample| sample.name);
        for of_one in samples.chunk_by(|one, other| one.name == other.name) {
            let kind = if of_one[0].grows {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let mut family =
                encoder.encode_descriptor(of_one[0].name, of_one[0].help, None, kind)?;
            for sample in of_one {
                let labels: Vec<(&str, String)> = sample.label.clone().into_iter().collect();
                let metric = family.encode_family(&labels)?;
                if sample.grows {
                    ConstCounter::new(sample.value).encode(metric)?;
                } else {
                    ConstGauge::new(sample.value).encode(metric)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_what_was_counted() {
        let metrics = Arc::new(Metrics::default());
        metrics.request(&Method::Publish, 200);
        metrics.request(&Method::Publish, 200);
        metrics.request(&Method::Invite, 486);
        metrics.rejected("overload");
        for ms in [0, 1, 2, 3, 4, 1_000_000_000] {
            metrics.notify_lag_ms(ms);
        }
        metrics.add_source(Box::new(|samples| {
            let label = Some(("shard", "s00".to_owned()));
            samples.push(Sample {
                name: "dialogs",
                help: "Dialogs.",
                label,
                value: 7,
                grows: false,
            });
        }));
        let text = metrics.text();
        for line in [
            "lamplight_requests_total{method=\"PUBLISH\",status=\"200\"} 2",
            "lamplight_requests_total{method=\"other\",status=\"4xx\"} 1",
            "lamplight_refused_total{why=\"overload\"} 1",
            "lamplight_notify_lag_seconds_bucket{le=\"0.001\"} 2",
            "lamplight_notify_lag_seconds_bucket{le=\"0.004\"} 5",
            "lamplight_notify_lag_seconds_bucket{le=\"+Inf\"} 6",
            "lamplight_notify_lag_seconds_count 6",
            "lamplight_dialogs{shard=\"s00\"} 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
