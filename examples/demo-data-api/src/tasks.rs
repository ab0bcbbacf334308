//! Work that is queued first and collected later. Queueing answers 202, and so does collecting until it is done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Demo;
use crate::data::{Question, no_question, problem, results};

/// The oldest are forgotten beyond this.
const TASKS_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Tasks {
    polls_until_done: u32,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    last: u64,
    tasks: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Task {
    q: String,
    polls_left: u32,
}

enum Progress {
    Unknown,
    Pending,
    Done(String),
}

impl Tasks {
    pub(crate) fn new(polls_until_done: u32) -> Tasks {
        Tasks {
            polls_until_done,
            queue: Mutex::default(),
        }
    }

    /// Numbers count from 1.
    fn queue(&self, q: String) -> u64 {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.last += 1;
        let number = queue.last;
        queue.tasks.insert(
            number,
            Task {
                q,
                polls_left: self.polls_until_done,
            },
        );
        if queue.tasks.len() > TASKS_MAX {
            queue.tasks.pop_first();
        }
        number
    }

    fn collect(&self, number: u64) -> Progress {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.tasks.get_mut(&number) {
            None => Progress::Unknown,
            Some(task) if task.polls_left > 0 => {
                task.polls_left -= 1;
                Progress::Pending
            }
            Some(task) => Progress::Done(task.q.clone()),
        }
    }
}

pub(crate) async fn queue(State(demo): State<Demo>, Json(question): Json<Question>) -> Response {
    match question.text() {
        Some(q) => pending(&name_of(demo.tasks.queue(q))),
        None => no_question(),
    }
}

pub(crate) async fn collect(State(demo): State<Demo>, Path(task): Path<String>) -> Response {
    match number_of(&task).map_or(Progress::Unknown, |number| demo.tasks.collect(number)) {
        Progress::Unknown => problem(StatusCode::NOT_FOUND, "there is no such task"),
        Progress::Pending => pending(&task),
        Progress::Done(q) => Json(json!({ "task": task, "status": "done", "data": results(&q) })).into_response(),
    }
}

fn pending(task: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "task": task, "status": "pending" }))).into_response()
}

fn name_of(number: u64) -> String {
    format!("task_{number}")
}

fn number_of(task: &str) -> Option<u64> {
    task.strip_prefix("task_")?.parse().ok()
}
