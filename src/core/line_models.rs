//! The line by itself under the model checker: how segments leave the row, and who meets whom in a cell.
//!
//! A model's guard proves that nothing is reached that was retired before it was taken (L4).

use std::sync::Arc;

use loom::thread;

use super::{CELLS, Line, Message, Occupant, Position, Served};
use crate::core::models::explore;
use crate::sync::{Ordering, pin};

const MESSAGE: Message = Message::new(42);

/// Somebody to stand in a cell; never looked at.
fn occupant(number: usize) -> Occupant {
    Occupant::of(std::ptr::without_provenance::<u64>((number + 8) * 16))
}

/// A line with so many segments, all cells filled.
fn filled(segments: usize) -> (Arc<Line>, Vec<Position>) {
    let line = Line::new();
    let guard = pin();
    let positions = (0..segments * CELLS)
        .map(|number| line.enrol(occupant(number), |_| {}, &guard).expect("empty"))
        .collect();
    (Arc::new(line), positions)
}

/// Gives up every cell of a segment but leaves its last one to be settled.
fn give_up_but_one(line: &Line, positions: &[Position], segment: usize) -> Position {
    let guard = pin();
    for cell in segment * CELLS..(segment + 1) * CELLS {
        assert!(line.withdraw(positions[cell], occupant(cell), true, &guard));
        if cell + 1 < (segment + 1) * CELLS {
            line.leave(positions[cell], true, &guard);
        }
    }
    positions[(segment + 1) * CELLS - 1]
}

/// Walks the row both ways, as everybody does who looks for a cell: the guard checks each step.
fn walk(line: &Line, first: Position, last: Position) {
    let guard = pin();
    let mut at = line.at(first, &guard);
    while !at.next.load(Ordering::Acquire).is_null() {
        at = line.see(at.next.load(Ordering::Acquire), &guard);
    }
    let mut at = line.at(last, &guard);
    while !at.prev.load(Ordering::Acquire).is_null() {
        at = line.see(at.prev.load(Ordering::Acquire), &guard);
    }
}

fn empty(line: &Line, positions: &[Position], segments: &[usize]) {
    let guard = pin();
    for segment in segments {
        for cell in segment * CELLS..(segment + 1) * CELLS {
            assert!(line.withdraw(positions[cell], occupant(cell), true, &guard));
            line.leave(positions[cell], true, &guard);
        }
    }
}

/// L4: neighbours that are removed at one moment do not link to each other.
#[test]
fn neighbours_removed_at_once_leave_the_row() {
    explore(|| {
        let (line, positions) = filled(4);
        let (a, b) = (
            give_up_but_one(&line, &positions, 1),
            give_up_but_one(&line, &positions, 2),
        );
        let other = line.clone();
        let removes = thread::spawn(move || other.leave(a, true, &pin()));
        line.leave(b, true, &pin());
        removes.join().expect("no panic");
        walk(&line, positions[0], positions[3 * CELLS]);
        empty(&line, &positions, &[0, 3]);
    });
}

/// L4: the same with a third thread that walks past them meanwhile.
#[test]
fn who_walks_by_while_segments_leave_reaches_nothing_that_is_gone() {
    explore(|| {
        let (line, positions) = filled(4);
        let (a, b) = (
            give_up_but_one(&line, &positions, 1),
            give_up_but_one(&line, &positions, 2),
        );
        let (one, two) = (line.clone(), line.clone());
        let (first, last) = (positions[0], positions[3 * CELLS]);
        let removes = thread::spawn(move || one.leave(a, true, &pin()));
        let walks = thread::spawn(move || walk(&two, first, last));
        line.leave(b, true, &pin());
        removes.join().expect("no panic");
        walks.join().expect("no panic");
        empty(&line, &positions, &[0, 3]);
    });
}

/// L4: three in a row, the outer ones by one thread.
#[test]
fn three_neighbours_removed_at_once_leave_the_row() {
    explore(|| {
        let (line, positions) = filled(5);
        let ends: Vec<Position> = (1..4)
            .map(|segment| give_up_but_one(&line, &positions, segment))
            .collect();
        let (first, last, other) = (ends[0], ends[2], line.clone());
        let removes = thread::spawn(move || {
            other.leave(first, true, &pin());
            other.leave(last, true, &pin());
        });
        line.leave(ends[1], true, &pin());
        removes.join().expect("no panic");
        walk(&line, positions[0], positions[4 * CELLS]);
        empty(&line, &positions, &[0, 4]);
    });
}

/// L1: who arrives and who serves meet in one cell, whoever is first.
#[test]
fn who_arrives_and_who_serves_meet_in_one_cell() {
    explore(|| {
        let line = Arc::new(Line::new());
        let other = line.clone();
        let serves = thread::spawn(move || {
            let guard = pin();
            match other.next(MESSAGE, &guard) {
                Served::Waiter(who, position) => {
                    other.settle(position, &guard);
                    Some(who)
                }
                Served::Left => None,
                Served::Unpaid => unreachable!("nobody leaves"),
            }
        });
        let guard = pin();
        let arrived = line.enrol(occupant(1), |_| {}, &guard);
        let served = serves.join().expect("no panic");
        match arrived {
            Ok(_) => assert_eq!(served, Some(occupant(1))),
            Err((message, position)) => {
                assert_eq!((message, served), (MESSAGE, None));
                line.settle(position, &guard);
            }
        }
    });
}

/// L1, D2: a leaver without a unit and those who come with one: his cell is not settled, and its segment does not leave
/// the row, before the one who pays for it has been there.
#[test]
fn a_leaver_without_a_unit_is_paid_for_once() {
    explore(|| {
        let (line, positions) = filled(2);
        {
            let guard = pin();
            assert!(line.withdraw(positions[1], occupant(1), true, &guard));
            line.leave(positions[1], true, &guard);
        }
        let serve = |line: Arc<Line>| {
            move || {
                let guard = pin();
                match line.next(MESSAGE, &guard) {
                    Served::Waiter(who, position) => {
                        line.settle(position, &guard);
                        Some(who)
                    }
                    Served::Unpaid => None,
                    Served::Left => unreachable!("somebody is there"),
                }
            }
        };
        let other = thread::spawn(serve(line.clone()));
        let leaves = {
            // Pinned before anybody can settle the cell, as a leaver is who finds his waiter pending.
            let (line, position, guard) = (line.clone(), positions[0], pin());
            thread::spawn(move || {
                let left = line.withdraw(position, occupant(0), false, &guard);
                if left {
                    line.leave(position, false, &guard);
                }
                left
            })
        };
        let mut served = vec![serve(line.clone())()];
        served.push(other.join().expect("no panic"));
        let first = if leaves.join().expect("no panic") {
            None
        } else {
            Some(occupant(0))
        };
        served.sort_by_key(|who| *who != first);
        assert_eq!(served, [first, Some(occupant(2))], "one cell for one unit");
        let guard = pin();
        assert!(line.withdraw(positions[3], occupant(3), true, &guard));
        line.leave(positions[3], true, &guard);
    });
}
