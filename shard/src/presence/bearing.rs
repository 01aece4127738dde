//! What a standard publication (PIDF) says about a person, in the terms of enhanced presence.
//!
//! Contradictions C-04, C-60 and C-61: an open publication counts as a device of its own, and what its
//! person is doing counts as a telephone's state.

use crate::category::state::{Activity, Kind, State};
use crate::time::Timestamp;

/// How a publication's device is. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Device {
    /// Closed, or nothing said: it takes no part.
    #[default]
    Absent = 0,
    /// Open.
    Online = 1,
    /// Open, and idle by RPID.
    Idle = 2,
    /// Open, and away by RPID.
    Away = 3,
}

/// What a publication's person is doing. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Nothing that matters here.
    #[default]
    Nothing = 0,
    /// Busy.
    Busy = 1,
    /// On the phone.
    OnThePhone = 2,
    /// In a meeting or an appointment.
    Meeting = 3,
    /// Presenting.
    Presentation = 4,
}

/// Both, and whose publication it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bearing {
    /// The device.
    pub device: Device,
    /// The person.
    pub doing: Doing,
    /// Whether all BluStar clients of a user share this publication: it says which status they have.
    pub shared: bool,
    /// Whether it says where the user's calls go, of which there is one place.
    pub forwards: bool,
}

/// In the byte of the device: a publication that BluStar clients share.
const SHARED: u8 = 0x80;
/// In the same byte: where calls go.
const FORWARDS: u8 = 0x40;

impl Bearing {
    /// The bearing with these numbers in the log.
    #[must_use]
    pub fn from_numbers(device: u8, doing: u8) -> Option<Bearing> {
        let (shared, forwards) = (device & SHARED != 0, device & FORWARDS != 0);
        let device = device & !(SHARED | FORWARDS);
        let device = [Device::Absent, Device::Online, Device::Idle, Device::Away]
            .into_iter()
            .find(|known| *known as u8 == device)?;
        let doing = [
            Doing::Nothing,
            Doing::Busy,
            Doing::OnThePhone,
            Doing::Meeting,
            Doing::Presentation,
        ]
        .into_iter()
        .find(|known| *known as u8 == doing)?;
        Some(Bearing {
            device,
            doing,
            shared,
            forwards,
        })
    }

    /// Its numbers in the log.
    #[must_use]
    pub fn numbers(self) -> [u8; 2] {
        let shared = if self.shared { SHARED } else { 0 };
        let forwards = if self.forwards { FORWARDS } else { 0 };
        [self.device as u8 | shared | forwards, self.doing as u8]
    }

    /// The state of its device, as if an endpoint had published it.
    #[must_use]
    pub fn machine_state(self) -> Option<State> {
        let availability = match self.device {
            Device::Absent => return None,
            Device::Online => 3_500,
            Device::Idle => 5_000,
            Device::Away => 15_500,
        };
        Some(State::new(Kind::Machine, availability))
    }

    /// The state of its person, as if a telephone had published it, since `first` said so.
    #[must_use]
    pub fn phone_state(self, first: Timestamp) -> Option<State> {
        let token = match self.doing {
            _ if self.device == Device::Absent => return None,
            Doing::Nothing => return None,
            Doing::Busy => "",
            Doing::OnThePhone => "on-the-phone",
            Doing::Meeting => "in-a-meeting",
            Doing::Presentation => "in-presentation",
        };
        let mut state = State::new(Kind::Phone, 6_500);
        state.start_time = Some(first);
        state.activities = Box::new([Activity {
            token: token.into(),
            custom: "".into(),
            min: 6_500,
            max: 8_999,
        }]);
        Some(state)
    }
}
