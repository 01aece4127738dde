//! Where the workers find who subscribes in the node's name (the back end): what comes for it is handed over
//! here, whichever worker it came to.

use transport::io::worker::Ended;
use transport::sip::{Request, Response};

use crate::dialect::Answer;

/// Who subscribes in the node's name. None of these may block.
pub trait Subscriber: Send + Sync {
    /// A NOTIFY has come: the answer, if its Call-ID is that of a dialog of ours.
    fn notified(&self, request: &Request) -> Option<Answer>;
    /// A request of ours has ended; `whose` is what it was sent with.
    fn ended(&self, whose: (u64, u32), ended: Ended);
    /// Which worker sent the request that this answers, if it is one of ours.
    fn sender_of(&self, response: &Response) -> Option<usize>;
}
