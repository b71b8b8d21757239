//! The simulated board: what it feels changes with time, and with what it was told to do.

use serde::{Deserialize, Serialize};

/// How often it reports. A real board on a serial line says about as much.
pub(crate) const TICK_MS: u64 = 50;

const TICKS_PER_S: f64 = 20.0;
/// A hobby servo needs about a third of a second for 60 degrees.
const SERVO_DEGREES_PER_TICK: f64 = 9.0;
/// What the lamp adds to the light that the sensor sees.
const LAMP: f64 = 310.0;
/// The button is pressed about every ten seconds, for a little more than half a second.
const PRESS_TICKS: u32 = 12;
const PRESS_ONE_IN: u32 = 200;

/// A board that stands on a desk: a lamp beside a light sensor, a thermometer, a button, and a servo that turns a
/// distance sensor. It reads no clock; [`tick`](Self::tick) is one twentieth of a second.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    ticks: u32,
    noise: u32,
    lamp_on: bool,
    servo: f64,
    servo_goal: f64,
    light: f64,
    pressed_for: u32,
}

/// What the board reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Values {
    /// 0 to 1023, as a ten-bit converter gives it.
    pub(crate) light: u16,
    /// Degrees Celsius, one decimal.
    pub(crate) temperature: f64,
    /// Centimetres.
    pub(crate) distance: u16,
    pub(crate) button: bool,
    pub(crate) led: bool,
    /// Degrees, 0 to 180.
    pub(crate) servo: u16,
    /// Pages that are connected.
    pub(crate) tabs: usize,
}

/// What a page may ask for; the rest of its words is left alone.
#[derive(Debug, Default, Deserialize)]
struct Order {
    led: Option<bool>,
    servo: Option<f64>,
}

impl Board {
    /// A board that was just plugged in. The same seed feels the same.
    pub(crate) fn new(seed: u32) -> Self {
        let (servo, light) = (90.0, 400.0);
        Self { ticks: 0, noise: seed | 1, lamp_on: false, servo, servo_goal: servo, light, pressed_for: 0 }
    }

    /// Does what a page's text asks for, such as `{"led":true}` or `{"servo":120}`; anything else changes nothing.
    pub(crate) fn obey(&mut self, text: &str) {
        let order: Order = serde_json::from_str(text).unwrap_or_default();
        self.lamp_on = order.led.unwrap_or(self.lamp_on);
        self.servo_goal = order.servo.map_or(self.servo_goal, |goal| goal.clamp(0.0, 180.0));
    }

    /// Lets a twentieth of a second go by.
    pub(crate) fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let step = self.servo_goal - self.servo;
        self.servo += step.clamp(-SERVO_DEGREES_PER_TICK, SERVO_DEGREES_PER_TICK);

        let daylight = 400.0 + 80.0 * self.wave(43.0) + 25.0 * self.wave(7.0);
        let lamp = if self.lamp_on { LAMP } else { 0.0 };
        // Towards what shines now, a quarter of the way each tick: a photoresistor is slow.
        self.light += (daylight + lamp - self.light) * 0.25 + 4.0 * self.random();

        if self.pressed_for > 0 {
            self.pressed_for -= 1;
        } else if self.draw().is_multiple_of(PRESS_ONE_IN) {
            self.pressed_for = PRESS_TICKS;
        }
    }

    /// What it feels now.
    pub(crate) fn values(&self, tabs: usize) -> Values {
        let temperature = 23.0 + 1.4 * self.wave(95.0) + 0.2 * self.wave(11.0);
        // A wall in front, a corner to one side, a shelf to the other.
        let turn = (self.servo - 90.0) / 90.0;
        let wall = 85.0 / (1.0 - turn * turn).max(0.45);
        let off = (self.servo - 140.0) / 18.0;
        let shelf = 95.0 / (1.0 + off * off * off * off);
        let distance = wall - shelf + 3.0 * self.wave(5.0);
        Values {
            light: whole(self.light, 1023),
            temperature: (temperature * 10.0).round() / 10.0,
            distance: whole(distance, 400),
            button: self.pressed_for > 0,
            led: self.lamp_on,
            servo: whole(self.servo, 180),
            tabs,
        }
    }

    /// A smooth wave of the time, -1 to 1. Two parabolas do: a sine would bring the maths library into every bridge.
    fn wave(&self, period_s: f64) -> f64 {
        let turns = f64::from(self.ticks) / TICKS_PER_S / period_s;
        let at = 2.0 * (turns - turns.floor()) - 1.0;
        4.0 * at * (1.0 - at.abs())
    }

    /// -1 to 1.
    fn random(&mut self) -> f64 {
        f64::from(self.draw() % 2001) / 1000.0 - 1.0
    }

    /// Xorshift: enough for a flicker.
    fn draw(&mut self) -> u32 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        self.noise
    }
}

/// The nearest whole number from 0 to `max`.
#[expect(clippy::cast_possible_truncation, reason = "the value was clamped to what fits")]
fn whole(value: f64, max: u16) -> u16 {
    value.clamp(0.0, f64::from(max)).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(board: &mut Board, ticks: u32) -> Values {
        (0..ticks).for_each(|_| board.tick());
        board.values(0)
    }

    #[test]
    fn the_lamp_shines_on_the_light_sensor() {
        let mut board = Board::new(7);
        let dark = after(&mut board, 40);
        board.obey(r#"{"led":true}"#);
        let bright = after(&mut board, 40);
        assert!(!dark.led && bright.led);
        assert!(bright.light > dark.light + 150, "{dark:?} {bright:?}");
    }

    #[test]
    fn the_servo_takes_its_time_and_stays_within_its_travel() {
        let mut board = Board::new(7);
        board.obey(r#"{"servo":270}"#);
        assert_eq!(after(&mut board, 1).servo, 99);
        assert_eq!(after(&mut board, 20).servo, 180);
        board.obey(r#"{"servo":-1}"#);
        assert_eq!(after(&mut board, 40).servo, 0);
    }

    #[test]
    fn turning_changes_the_distance() {
        let mut board = Board::new(7);
        let ahead = after(&mut board, 1).distance;
        board.obey(r#"{"servo":140}"#);
        let shelf = after(&mut board, 20).distance;
        assert!(ahead.abs_diff(shelf) > 10, "{ahead} {shelf}");
    }

    #[test]
    fn what_is_no_order_changes_nothing() {
        let mut board = Board::new(7);
        for text in ["", "null", "[1]", r#"{"led":1}"#, r#"{"servo":"90"}"#, r#"{"door":true}"#, "\u{0}"] {
            board.obey(text);
            assert!(!board.lamp_on && board.servo_goal == 90.0, "{text}");
        }
    }

    #[test]
    fn values_move_within_their_ranges_and_the_button_is_pressed_now_and_then() {
        let mut board = Board::new(7);
        board.obey(r#"{"led":true}"#);
        let (mut presses, mut lights) = (0, std::collections::BTreeSet::new());
        for _ in 0..20_000 {
            let before = board.values(0).button;
            let now = after(&mut board, 1);
            presses += u32::from(now.button && !before);
            lights.insert(now.light);
            assert!(now.light <= 1023, "{now:?}");
            assert!((18.0..=30.0).contains(&now.temperature), "{now:?}");
            assert!((2..=200).contains(&now.distance), "{now:?}");
        }
        assert!((40..=200).contains(&presses), "{presses} presses in 1000 s");
        assert!(lights.len() > 50, "the light moves");
    }
}
