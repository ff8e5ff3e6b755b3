#pragma once
// How the learning rate moves over the steps of a run.
#include "twotower/base/types.hpp"

namespace twotower::train {

enum class ScheduleKind { kConstant, kLinear, kCosine };

/// learning_rate(step) = peak * shape(step): rises linearly over the first `warmup_share` of the steps, then stays, or falls to
/// final_share of the peak along a line or half a cosine, which it reaches at the last step.
///
/// Source      Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 (one cycle)
struct Schedule {
  ScheduleKind kind = ScheduleKind::kLinear;
  double peak = 0.01;
  double warmup_share = 0;    // of the steps, in [0, 1)
  double final_share = 0.02;  // of the peak, in [0, 1]

  void check() const;

  /// step in [0, total).
  double learning_rate(Index step, Index total) const;
};

/// What a run of steps did.
struct Progress {
  Index steps = 0, examples = 0;
  double loss = 0;  // mean over the steps
};

}  // namespace twotower::train
