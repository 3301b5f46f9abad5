//! The enumerated values of records, each with its text on the wire and in the stores. A text that is not listed is
//! never accepted.

use serde::{Deserialize, Serialize};

macro_rules! values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text on the wire and in the stores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

values! {
    /// How a communication reaches its customer.
    Channel {
        /// Email.
        Email = "email",
        /// A phone call.
        Phone = "phone",
        /// A text message.
        Sms = "sms",
    }
}

values! {
    /// Who initiated a communication.
    Direction {
        /// From the customer.
        Inbound = "inbound",
        /// To the customer.
        Outbound = "outbound",
    }
}

values! {
    /// What happened to a communication. A communication's `status` is the type of its newest event.
    EventType {
        /// Planned and not sent yet.
        Queued = "queued",
        /// Handed to the provider.
        Sent = "sent",
        /// Accepted by the recipient's side.
        Delivered = "delivered",
        /// Opened or picked up.
        Opened = "opened",
        /// The customer replied.
        Answered = "answered",
        /// The customer promised to pay.
        Promised = "promised",
        /// The customer paid.
        Paid = "paid",
        /// Delivery failed.
        Failed = "failed",
    }
}

values! {
    /// What a customer did.
    InteractionType {
        /// Replied to a message.
        Reply = "reply",
        /// Called, or took a call.
        Call = "call",
        /// Followed a link.
        Click = "click",
        /// Opened the payment portal.
        PortalVisit = "portal_visit",
        /// Promised to pay.
        Promise = "promise",
        /// Paid.
        Payment = "payment",
        /// Disputed the claim.
        Dispute = "dispute",
    }
}
