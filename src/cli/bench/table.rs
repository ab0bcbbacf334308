//! Figures for people.

use keyledger::bench::Figure;

pub fn head() {
    println!(
        "{:<28} {:>8} {:>9} {:>10} {:>10} {:>10} {:>9} {:>9} {:>8}",
        "what", "callers", "accounts", "per s", "events/s", "p50 µs", "p99 µs", "cpu here", "postgres"
    );
}

pub fn line(figure: &Figure) {
    let dash = || "–".to_owned();
    let cpu = |of: fn(keyledger::bench::CpuSplit) -> u64| figure.cpu.map_or_else(dash, |cpu| format!("{} %", of(cpu)));
    let setting = |name: &str| figure.settings.get(name).map_or_else(dash, u64::to_string);
    println!(
        "{:<28} {:>8} {:>9} {:>10} {:>10} {:>10} {:>9} {:>9} {:>8}",
        figure.name,
        setting("callers"),
        setting("accounts"),
        figure.per_s,
        figure.events_per_s.map_or_else(dash, |events| events.to_string()),
        figure.p50_us,
        figure.p99_us,
        cpu(|cpu| cpu.here),
        cpu(|cpu| cpu.postgres)
    );
    if figure.refused > 0 {
        println!("{:<28} {} refused", "", figure.refused);
    }
}
