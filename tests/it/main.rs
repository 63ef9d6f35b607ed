//! Behaviour of the whole, through its real surfaces.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod module_order;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod policy_matrix;
#[cfg(test)]
mod program;
#[cfg(test)]
mod threats;
