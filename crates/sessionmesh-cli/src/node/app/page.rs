//! The pages for people: HTML for a browser, text for all others.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sessionmesh::{Mesh, SessionId};
use sessionmesh_axum::{Session, SessionError};

use super::cart::{ARTICLES, Article, cart};
use super::problem::Problem;

/// Nothing is loaded from anywhere, and there is no script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("page.css");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle \
                    cx='8' cy='8' r='7' fill='%239a3b1b'/%3E%3C/svg%3E";

/// The shop, as this visitor sees it.
pub(super) fn shop(mesh: &Mesh, session: &Session) -> Result<Response, SessionError> {
    let user = session.get::<String>("user")?;
    let cart = cart(session)?;
    let lines: Vec<(&Article, u32)> =
        ARTICLES.iter().filter_map(|article| Some((article, *cart.get(article.key)?))).collect();
    let body = html! {
        (account(user.as_deref()))
        main {
            section.shelf {
                h2 { "Teas" }
                div.articles { @for article in &ARTICLES { (offer(article)) } }
            }
            div.side {
                (cart_panel(&lines))
                (session_panel(mesh, session)?)
            }
        }
    };
    Ok(document(mesh, &body))
}

/// A page that says what went wrong.
pub(super) fn problem(mesh: &Mesh, problem: &Problem, status: StatusCode) -> Response {
    let heading = match problem {
        Problem::Later(_) => "One moment, please",
        Problem::NotLoggedIn => "You are not logged in",
        Problem::Refused(_) | Problem::Foreign => "That did not work",
        Problem::Failed(_) => "Something went wrong",
    };
    let body = html! {
        main {
            section.panel.problem {
                h2 { (heading) }
                @match problem {
                    Problem::NotLoggedIn => p { "Your session has ended, or there was none." },
                    problem => p { (problem.text()) "." },
                }
                @if let Problem::Later(_) = problem { p { "Your session is kept. Come again in a second." } }
                p { a.button href="/" { "To the shop" } " " small { (status) } }
            }
        }
    };
    document(mesh, &body)
}

fn document(mesh: &Mesh, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Mesh & Leaf" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { a href="/" { "Mesh & Leaf" } }
                    p.served { "served by " strong { (mesh.name()) } }
                }
                (body)
                footer { p { "An example of Sessionmesh. Stop the node that served you, and load this page again: the cart is still there." } }
            }
        }
    };
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, page.into_string()).into_response()
}

fn account(user: Option<&str>) -> Markup {
    html! {
        @match user {
            Some(user) => form.account method="post" action="/logout" {
                p { "Good to see you, " strong { (user) } "." }
                button { "Log out" }
            },
            None => form.account.login method="post" action="/login" {
                label { span { "Your name" } input name="user" required maxlength="16" autocomplete="username" placeholder="ada"; }
                button.primary { "Log in" }
            },
        }
    }
}

fn offer(article: &Article) -> Markup {
    html! {
        form.article method="post" action="/cart/add" {
            span.cup style={ "--tea:" (article.color) } {}
            div {
                h3 { (article.name) }
                p { (article.about) }
            }
            p.price { (price(article.cents)) }
            button name="article" value=(article.key) aria-label={ "Add " (article.name) } { "Add" }
        }
    }
}

fn cart_panel(lines: &[(&Article, u32)]) -> Markup {
    let total = lines.iter().map(|(article, count)| article.cents * count).sum();
    html! {
        section.panel {
            h2 { "Cart" }
            @if lines.is_empty() { p.empty { "Nothing in it yet. It needs no login." } }
            @else {
                ul.cart {
                    @for (article, count) in lines {
                        li {
                            span.cup.small style={ "--tea:" (article.color) } {}
                            span.name { (article.name) }
                            form.count method="post" {
                                button formaction="/cart/remove" name="article" value=(article.key) aria-label={ "One " (article.name) " less" } { "−" }
                                output { (count) }
                                button formaction="/cart/add" name="article" value=(article.key) aria-label={ "One " (article.name) " more" } { "+" }
                            }
                            span.price { (price(article.cents * count)) }
                        }
                    }
                }
                p.total { span { "Total" } strong { (price(total)) } }
            }
        }
    }
}

fn session_panel(mesh: &Mesh, session: &Session) -> Result<Markup, SessionError> {
    let visits = session.get::<u64>("visits")?.unwrap_or(0);
    Ok(html! {
        section.panel {
            h2 { "Your session" }
            @match session.id() {
                None => p.empty { "None. It begins with the first thing to remember." },
                Some(id) => {
                    dl {
                        div { dt { "Visits" } dd { (visits) } }
                        div { dt { "Began" } dd { (began(session)) } }
                        div { dt { "Before that, idle for" } dd { (idle(session)) } }
                        div { dt { "Known in logs as" } dd { code { (id) } } }
                    }
                }
            }
            h3 { "Nodes" }
            (nodes(mesh, session.id()))
        }
    })
}

fn nodes(mesh: &Mesh, id: Option<SessionId>) -> Markup {
    let owners = id.map(|id| mesh.owners(id)).unwrap_or_default();
    html! {
        ul.nodes {
            @for member in mesh.members() {
                @let copy = owners.contains(&member.name);
                @let here = *member.name == *mesh.name();
                li.copy[copy] {
                    span.dot {}
                    span.name { (member.name) }
                    @if copy { span.tag { "holds a copy" } }
                    @if here { span.tag.here { "served this" } }
                }
            }
        }
    }
}

/// The same as lines of text.
pub(super) fn text(mesh: &Mesh, session: &Session) -> Response {
    let mut lines = Vec::new();
    match session.id() {
        None => lines.push(("session", "none: POST /login {\"user\": \"ada\"}".to_owned())),
        Some(id) => {
            // Shows nothing rather than failing, when somebody stored something else under these names.
            let user = session.get::<String>("user").ok().flatten().unwrap_or_default();
            let visits = session.get::<u64>("visits").ok().flatten().unwrap_or_default();
            lines.extend([
                ("session", id.to_string()),
                ("user", user),
                ("visits", visits.to_string()),
                ("created", session.created_ms().and_then(moment).unwrap_or_default()),
                ("last accessed", format!("{} ago", idle(session))),
                ("owners", mesh.owners(id).join(", ")),
            ]);
        }
    }
    lines.push(("served by", mesh.name().to_owned()));
    lines.iter().map(|(name, value)| format!("{name:<15}{value}\n")).collect::<String>().into_response()
}

/// A point in time as `2026-01-31T12:00:00Z`; an hour beyond the calendar as none.
pub(super) fn moment(millis: u64) -> Option<String> {
    /// The first millisecond of the year 10000.
    const END: u64 = 253_402_300_800_000;
    let moment = UNIX_EPOCH + Duration::from_millis(millis.min(END));
    (millis < END).then(|| humantime::format_rfc3339_seconds(moment).to_string())
}

/// The same for people.
fn began(session: &Session) -> String {
    let moment = session.created_ms().and_then(moment).unwrap_or_default();
    moment.replace('T', " ").replace('Z', " UTC")
}

fn idle(session: &Session) -> String {
    humantime::format_duration(Duration::from_secs(session.idle().as_secs())).to_string()
}

fn price(cents: u32) -> String {
    format!("€ {}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_visitors_typed_cannot_become_markup() {
        let page = account(Some("<script>'\"&")).into_string();
        assert!(page.contains("<strong>&lt;script&gt;'&quot;&amp;</strong>"), "{page}");
    }

    #[test]
    fn moments_are_shown_as_dates_as_far_as_the_calendar_goes() {
        assert_eq!(moment(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(moment(u64::MAX), None);
    }

    #[test]
    fn prices_have_two_digits_after_the_point() {
        assert_eq!((price(605).as_str(), price(99).as_str()), ("€ 6.05", "€ 0.99"));
    }
}
