//! What exists at the sandbox before anybody connects: its people, their accounts, the scopes that can be
//! asked for, and the names of the API keys. Constants only; what changes is in [`super::state`].

/// Someone who can sign in at the sandbox (there are no passwords: one chooses who one is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// What the control endpoints and [`super::Sandbox::approve`] call the person.
    pub key: &'static str,
    /// The `sub` of `/userinfo`.
    pub sub: &'static str,
    /// First and last name.
    pub name: &'static str,
    /// The `email` of `/userinfo`.
    pub email: &'static str,
}

/// The people, in the order in which the consent page offers them.
pub const PEOPLE: [Person; 2] = [
    Person { key: "ada", sub: "person-7041", name: "Ada Lindqvist", email: "ada@lindqvist.example" },
    Person { key: "ben", sub: "person-9128", name: "Ben Okafor", email: "ben@okafor.example" },
];

impl Person {
    /// Finds a person by key, `sub` or e-mail address: whatever a `login_hint` may hold.
    pub(super) fn find(text: &str) -> Option<&'static Self> {
        PEOPLE.iter().find(|p| p.key == text || p.sub == text || p.email.eq_ignore_ascii_case(text))
    }

    /// The letters of the round badge on the consent page.
    pub(super) fn initials(&self) -> String {
        self.name.split(' ').filter_map(|part| part.chars().next()).collect()
    }
}

/// An advertising account; one person may have several, and one account several people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// As `/accounts` lists it.
    pub id: &'static str,
    /// As `/accounts` lists it.
    pub name: &'static str,
    /// Keys of the people who see it.
    pub people: &'static [&'static str],
}

/// Ada sees three, Ben two, and one of them is the same.
pub const ACCOUNTS: [Account; 4] = [
    Account { id: "100-301", name: "Lindqvist Lamps", people: &["ada"] },
    Account { id: "100-302", name: "Harbour Hotels", people: &["ada"] },
    Account { id: "100-303", name: "Fjord Outfitters", people: &["ada", "ben"] },
    Account { id: "100-404", name: "Okafor Orchards", people: &["ben"] },
];

/// An account as the API shows it.
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) name: String,
}

impl From<&Account> for Shown {
    fn from(account: &Account) -> Self {
        Self { id: account.id.to_owned(), name: account.name.to_owned() }
    }
}

/// The first `count` of the customers' accounts that Ada sees as their manager.
pub(super) fn managed(count: u16) -> impl Iterator<Item = Shown> {
    (1..=count).map(|number| Shown { id: format!("200-{number:03}"), name: format!("Customer {number:03}") })
}

/// The manager's key.
pub(super) const MANAGER: &str = "ada";

/// Names of the API keys: what `/keyed/me` answers as id and name. Their values are made at construction.
pub(super) const KEYS: [(&str, &str); 3] =
    [("lamps", "Lindqvist Lamps"), ("hotels", "Harbour Hotels"), ("orchards", "Okafor Orchards")];

/// What a grant gives access to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Advertising accounts and their reports.
    Ads,
    /// Visits of the person's web site.
    Analytics,
    /// One shop, named in the path.
    Shop,
}

impl Product {
    /// The product's name as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ads => "Sandbox Ads",
            Self::Analytics => "Sandbox Analytics",
            Self::Shop => "Sandbox Shop",
        }
    }

    /// The word by which the control endpoints know it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ads => "ads",
            Self::Analytics => "analytics",
            Self::Shop => "shop",
        }
    }

    /// The product of that key.
    pub(super) fn find(key: &str) -> Option<Self> {
        [Self::Ads, Self::Analytics, Self::Shop].into_iter().find(|product| product.key() == key)
    }
}

/// One thing that a client can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) name: &'static str,
    /// What the consent page says.
    pub(super) meaning: &'static str,
    /// The person may leave it out on the consent page.
    pub(super) optional: bool,
    /// `None` where every product has it.
    pub(super) product: Option<Product>,
}

const SCOPES: [Scope; 6] = [
    Scope { name: "profile", meaning: "See your name and e-mail address", optional: false, product: None },
    Scope {
        name: "ads.read",
        meaning: "See your advertising accounts and their reports",
        optional: false,
        product: Some(Product::Ads),
    },
    Scope { name: "ads.spend", meaning: "See what each day has cost", optional: true, product: Some(Product::Ads) },
    Scope {
        name: "analytics.read",
        meaning: "See the visits of your web site",
        optional: false,
        product: Some(Product::Analytics),
    },
    Scope { name: "shop.read", meaning: "See the shop and its orders", optional: false, product: Some(Product::Shop) },
    Scope {
        name: "shop.customers",
        meaning: "See how many customers are new",
        optional: true,
        product: Some(Product::Shop),
    },
];

impl Scope {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SCOPES.iter().find(|scope| scope.name == name)
    }
}

/// Whether the text can be the name of a shop. Every such shop exists, and both people own it.
pub(super) fn is_shop(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 60 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '-')
}

/// `north-lights` is read as `North Lights`.
pub(super) fn shop_name(shop: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    shop.split('-').filter_map(capital).collect::<Vec<_>>().join(" ")
}
