//! Population, plan, open-loop drive, measurement, verdict and account.
