//! What users ask, one question at a time, and how long they think before: a pure function of the seed. When they ask depends
//! on the answers, so there are no intended starts.

use std::time::Duration;

use super::{Plan, Step};
use crate::population::rng::KeyedRng;
use crate::question::Question;

impl Plan {
    /// The steps of user `user` of group `group` of the scenario; they never end. A user stays with one tenant.
    pub fn steps(&self, group: usize, user: u32) -> impl Iterator<Item = Step> + Send + use<> {
        let plan = self.clone();
        let mut rng = KeyedRng::new(plan.scenario.key_seed, "users", [group as u64, u64::from(user)]);
        let tenant = plan.askers.warm_up.draw(Duration::ZERO, &mut rng);
        std::iter::from_fn(move || {
            let users = &plan.scenario.users[group];
            let mix: Vec<(Question, u64)> = users.questions.iter().map(|(&question, &part)| (question, part)).collect();
            let think = Duration::from_secs_f64(rng.exponential(users.think_time.as_secs_f64()));
            let question = rng.weighted(&mix);
            let key = question.draw_key(&plan.population, &plan.population.tenants()[tenant], &mut rng);
            Some(Step { think, question, tenant, key })
        })
    }
}
