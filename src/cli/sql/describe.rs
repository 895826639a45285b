//! `\d` and its kin: what a session knows, as text.

use crate::base::Result;
use crate::query::Session;
use crate::query::inspect::{self, About, Column, Function, FunctionKind, Relation, RelationKind};

use super::super::table::{Align, Table};
use super::super::wrap::{self, fitted};
use super::command::COMMANDS;

/// Wider lines read badly.
const WIDEST: u16 = 120;

/// Tables, views, or both, each with what it is.
pub(super) async fn relations(session: &Session, kind: Option<RelationKind>) -> Result<String> {
    let mut text = String::new();
    let known = inspect::relations(session).await?;
    for (title, of) in [("Tables", RelationKind::Table), ("Views", RelationKind::View)] {
        if kind.is_none_or(|kind| kind == of) {
            text.push_str(&format!("{title}:\n"));
            let rows = known.iter().filter(|relation| relation.kind == of);
            rows.for_each(|Relation { name, about, .. }| text.push_str(&format!("  {name}  {}\n", about.summary)));
        }
    }
    if kind.is_none() {
        text.push_str(
            "\nFunctions stand after FROM, too: `price_at(500)`. `\\views` says what each answers, `\\df` lists all.\n",
        );
    }
    Ok(fitted(&text, 0, wrap::width(WIDEST)) + "\n")
}

/// Functions whose names hold a word: those of SQL's usual kinds too.
pub(super) fn functions(session: &Session, word: Option<&str>) -> String {
    let mut table = Table::new(&[("function", Align::Left), ("kind", Align::Left), ("meaning", Align::Left)]);
    for Function { name, kind, usage, about } in inspect::functions(session) {
        if word.is_none_or(|word| name.contains(&word.to_lowercase())) {
            table.row([if usage.is_empty() { name } else { usage }, kind.name().to_owned(), about.summary]);
        }
    }
    if table.is_empty() { "no function has that in its name\n".to_owned() } else { table.render("") }
}

/// The questions that have names: views and table functions, with meanings and examples.
pub(super) async fn questions(session: &Session) -> Result<String> {
    let views = inspect::relations(session).await?.into_iter();
    let views = views.filter(|relation| relation.kind == RelationKind::View);
    let views = views.map(|view| (view.name, view.about));
    let functions = inspect::functions(session).into_iter();
    // The engine's own (`range`) have no words of ours.
    let ours = functions.filter(|function| function.kind == FunctionKind::Table && !function.usage.is_empty());
    let mut text = String::new();
    for (name, About { summary, example, .. }) in views.chain(ours.map(|function| (function.usage, function.about))) {
        text.push_str(&format!("{name}\n  {summary}\n"));
        if !example.is_empty() {
            text.push_str(&format!("  {example};\n"));
        }
    }
    Ok(text)
}

/// What a table or view holds, or what a function does.
pub(super) async fn one(session: &Session, name: &str) -> Result<String> {
    let functions = inspect::functions(session);
    let (bare, is_call) = name.split_once('(').map_or((name, false), |(bare, _)| (bare, true));
    let function = functions.iter().find(|function| function.name == bare.to_lowercase());
    let known = inspect::relations(session).await?;
    let relation = known.iter().find(|relation| relation.name == name.to_lowercase());
    if let (Some(function), None) = (function, relation) {
        let columns = if is_call { columns(&inspect::columns(session, name).await?) } else { String::new() };
        return Ok(format!("{}{columns}", function_page(function)));
    }
    let columns = columns(&inspect::columns(session, name).await?);
    let about = relation.map(|relation| relation.about.text.as_str()).unwrap_or_default();
    Ok(format!("{columns}{}", paragraph(about)))
}

fn function_page(function: &Function) -> String {
    let (name, kind, text) = (&function.name, function.kind.name(), &function.about.text);
    match function.kind {
        FunctionKind::Table => format!("{name} ({kind} function)\n{}", paragraph(text)),
        // What the engine says has tables in it.
        _ => {
            let usage = if function.usage.is_empty() { name } else { &function.usage };
            format!("{usage} ({kind} function)\n{}\n", text.trim_end())
        }
    }
}

fn paragraph(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{}\n", fitted(text, 0, wrap::width(WIDEST))) }
}

fn columns(columns: &[Column]) -> String {
    let header = [("column", Align::Left), ("type", Align::Left), ("null", Align::Left), ("名称", Align::Left)];
    let mut table = Table::new(&[&header[..], &[("meaning", Align::Left)]].concat());
    for column in columns {
        table.row([
            column.name.clone(),
            column.data_type.clone(),
            if column.nullable { "null" } else { "" }.to_owned(),
            column.business_name.clone(),
            column.description.clone(),
        ]);
    }
    table.render("")
}

/// The commands.
pub(super) fn help() -> String {
    let line = |(word, follows, meaning): &(&str, &str, &str)| {
        format!("  {}  {meaning}\n", format!("{word} {follows}").trim())
    };
    let commands: String = COMMANDS.iter().map(line).collect();
    let text = format!(
        "Commands:\n{commands}\nA statement ends with `;` and may take several lines; a command may stand between them. TAB \
         completes, Ctrl-R searches the history, Ctrl-C stops a query or discards what is typed.\n"
    );
    fitted(&text, 0, wrap::width(WIDEST)) + "\n"
}
