#include "twotower/train/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "twotower/base/check.hpp"

namespace twotower::train {

void Schedule::check() const {
  check_positive("Schedule", "peak", peak);
  check_in_range("Schedule", "warmup_share", warmup_share, 0, 0.999);
  check_in_range("Schedule", "final_share", final_share, 0, 1);
}

double Schedule::learning_rate(Index step, Index total) const {
  const double warmup = std::floor(warmup_share * static_cast<double>(total));
  const auto now = static_cast<double>(step);
  if (now < warmup) return peak * (now + 1) / warmup;
  const double rest = static_cast<double>(total) - 1 - warmup;
  const double progress = rest > 0 ? std::min(1.0, (now - warmup) / rest) : 0;
  switch (kind) {
    case ScheduleKind::kConstant: return peak;
    case ScheduleKind::kLinear: return peak * (1 - (1 - final_share) * progress);
    case ScheduleKind::kCosine: return peak * (final_share + (1 - final_share) * (1 + std::cos(std::numbers::pi * progress)) / 2);
  }
  return peak;
}

}  // namespace twotower::train
