//! The page.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use keyledger_events::{AccountId, KeyId, Position, Timestamp};

use super::figures::Figures;
use super::filter::{Look, Wrong};
use super::grants::GrantRow;
use super::lines::LineRow;
use super::plans::PlanRow;
use super::prices::{NextPrices, Prices};
use super::statements::{MonthRow, months};
use super::used;
use crate::clock;
use crate::pages::Pages;
use crate::pages::arriving::Arriving;
use crate::pages::chart::{Days, Ranks};
use crate::pages::dress::page;
use crate::pages::fault::Fault;
use crate::pages::frame::{Around, Frame, Root};
use crate::pages::moment::start_of_month;
use crate::pages::name::Shown;
use crate::prices::PriceBook;
use crate::views::{
    ChargeLine, ChargeSearch, Grant, Key, KeyTotals, Lines, Page, Plan, Point, Range, Spending, ViewName, Views,
};

/// As many as weigh little and are read at once.
const LINES_A_PAGE: u32 = 15;
/// More are rare, and the first to expire matter most.
const GRANTS_MAX: u32 = 12;
/// Bars of the chart by key.
const KEY_BARS: usize = 6;
/// Keys that the form offers. Others are found by the links of the key list and of the charges.
const KEYS_OFFERED: u32 = 12;

#[derive(Template)]
#[template(path = "credits.html")]
struct CreditsPage<'a> {
    frame: Frame<'a>,
    figures: Figures,
    days: Days,
    endpoints: Ranks,
    keys: Ranks,
    grants: Vec<GrantRow>,
    more_grants: bool,
    plans: Vec<PlanRow>,
    prices: Prices,
    next_prices: Option<NextPrices>,
    months: Vec<MonthRow>,
    look: Look,
    wrong: Option<Wrong>,
    offered: Offered,
    lines: Vec<LineRow>,
    older: Option<u64>,
}

/// What the form lets people choose from.
struct Offered {
    keys: Vec<(KeyId, Shown)>,
    endpoints: Vec<String>,
}

/// Balance, use, prices, and the charges that the address asks for, the latest first.
///
/// 200 the page. 401 no session. 404 an address of no such page. 422 a filter that is none: the page, and what is wrong with it.
/// 503 a view is behind.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    arriving: Arriving,
    root: Root,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Response, Fault> {
    let now = clock::now();
    let range = used::range(now).map_err(|_| Fault::Internal)?;
    let (viewer, (look, search, around, found)) = arriving
        .reads(async |account| {
            let Query(look) = look.map_err(|_| Fault::NotFound)?;
            tokio::try_join!(
                pages.wait_for(ViewName::Balance, look.after),
                pages.wait_for(ViewName::Usage, look.after),
                pages.wait_for(ViewName::Charges, look.after),
            )?;
            let search = look.search();
            let found = Found::of(&pages.views, account, now, range, search.as_ref().ok(), look.before);
            let (around, found) = tokio::try_join!(Around::of(&pages, account), found)?;
            Ok((look, search, around, found))
        })
        .await?;
    let Found {
        spending,
        points,
        totals,
        grants,
        plans,
        lines,
        chosen,
    } = found;
    let frame = Frame::inside(&pages, root.clone(), "credits", "Credits", &viewer, around)?;
    let (spending, lines) = spending.zip(lines).ok_or(Fault::Behind)?;
    let book = pages.prices.in_force(now).book;
    let mut offered = Offered::new(&book, &points, &totals, &lines, &look);
    if let Some(key) = chosen {
        offered.add_key(key.id, &key.name);
    }
    let most = usize::try_from(GRANTS_MAX).unwrap_or(usize::MAX);
    let months = frame.inside.as_ref().map(|inside| months(inside.opened_at, now));
    let shown = CreditsPage {
        months: months.unwrap_or_default(),
        figures: Figures::new(frame.inside.as_ref(), &spending, now),
        frame,
        days: Days::new("Credits by day", used::stack(range, &points)),
        endpoints: Ranks::new("Endpoint", root.to_string(), used::endpoints(&points)),
        keys: Ranks::new("Key", root.to_string(), used::keys(&totals, KEY_BARS)),
        more_grants: grants.len() > most,
        grants: grants
            .into_iter()
            .take(most)
            .map(|grant| GrantRow::new(grant, now))
            .collect(),
        plans: plans.into_iter().map(|plan| PlanRow::new(plan, now)).collect(),
        prices: Prices::of(&book),
        next_prices: pages.prices.next(now).and_then(|next| NextPrices::of(&next, now)),
        wrong: search.as_ref().err().copied(),
        offered,
        older: lines.next.map(|position| position.0),
        lines: lines.items.into_iter().map(|line| LineRow::new(line, now)).collect(),
        look,
    };
    let status = match shown.wrong {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    page(status, &shown)
}

/// All that is read for the page.
struct Found {
    spending: Option<Spending>,
    points: Vec<Point>,
    totals: KeyTotals,
    grants: Vec<Grant>,
    plans: Vec<Plan>,
    lines: Option<Page<ChargeLine, Position>>,
    chosen: Option<Key>,
}

impl Found {
    /// One round to the database. No lines without a search.
    async fn of(
        views: &Views,
        account: AccountId,
        now: Timestamp,
        range: Range,
        search: Option<&ChargeSearch>,
        before: Option<u64>,
    ) -> Result<Found, Fault> {
        let (spending, points, totals, grants, plans, lines, chosen) = tokio::try_join!(
            views.spending(account, start_of_month(now), now),
            views.usage(account, range, Lines::Endpoint),
            views.key_totals(account, range.from(), KEYS_OFFERED),
            views.open_grants(account, now, GRANTS_MAX + 1),
            views.running_plans(account),
            async {
                match search {
                    Some(search) => {
                        let below = before.map(Position);
                        Ok(views.charge_lines(account, search, LINES_A_PAGE, below).await?.value)
                    }
                    None => Ok(Some(Page {
                        items: Vec::new(),
                        next: None,
                    })),
                }
            },
            async {
                match search.and_then(|search| search.key) {
                    Some(key) => Ok(views.key(account, key).await?.value),
                    None => Ok(None),
                }
            },
        )?;
        Ok(Found {
            spending: spending.value,
            points: points.value.unwrap_or_default(),
            totals,
            grants,
            plans,
            lines,
            chosen,
        })
    }
}

impl Offered {
    fn new(
        book: &PriceBook,
        points: &[Point],
        totals: &KeyTotals,
        lines: &Page<ChargeLine, Position>,
        look: &Look,
    ) -> Offered {
        let mut offered = Offered {
            keys: Vec::new(),
            endpoints: Vec::new(),
        };
        for total in &totals.first {
            if let (Some(key), Some(label)) = (total.key, &total.label) {
                offered.add_key(key, &label.name);
            }
        }
        let used = points.iter().filter_map(|point| match &point.line {
            crate::views::Line::Endpoint(name) => Some(name.clone()),
            crate::views::Line::Total
            | crate::views::Line::Key(_)
            | crate::views::Line::Dashboard
            | crate::views::Line::Other => None,
        });
        let priced = book.rules().map(|rule| rule.endpoint.as_str().to_owned());
        let listed = lines.items.iter().map(|line| line.charge.endpoint.clone());
        let chosen = Some(look.endpoint.clone()).filter(|chosen| !chosen.is_empty());
        offered.endpoints = used.chain(priced).chain(listed).chain(chosen).collect();
        offered.endpoints.sort();
        offered.endpoints.dedup();
        offered
    }

    fn add_key(&mut self, key: KeyId, name: &str) {
        if !self.keys.iter().any(|(there, _)| *there == key) {
            self.keys.push((key, Shown::new(name)));
        }
    }
}

impl CreditsPage<'_> {
    fn is_key(&self, key: &KeyId) -> bool {
        self.look.key == key.to_string()
    }

    fn is_endpoint(&self, endpoint: &str) -> bool {
        self.look.endpoint == endpoint
    }

    fn days_are_wrong(&self) -> bool {
        self.wrong.is_some_and(Wrong::is_of_days)
    }
}
