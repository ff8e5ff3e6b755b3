#include "twotower/train/schedule.hpp"

#include <limits>

#include "support/catch.hpp"

using twotower::Index;
using twotower::train::Schedule;
using twotower::train::ScheduleKind;

namespace {

constexpr ScheduleKind kKinds[] = {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine};

}  // namespace

TEST_CASE("Schedule: linear and cosine on paper") {
  // Five steps without warm-up from 1 to 0.2: a quarter of the way costs 0.8 / 4 = 0.2 on the line; half a cosine has
  // (1 + cos(pi / 4)) / 2 = 0.853553 of its way left, and a half in the middle.
  const Schedule line{ScheduleKind::kLinear, 1, 0, 0.2}, cosine{ScheduleKind::kCosine, 1, 0, 0.2};
  const double on_line[] = {1, 0.8, 0.6, 0.4, 0.2};
  const double on_cosine[] = {1, 0.2 + 0.8 * 0.853553390593, 0.6, 0.2 + 0.8 * 0.146446609407, 0.2};
  for (Index step = 0; step < 5; ++step) {
    CHECK(line.learning_rate(step, 5) == Approx(on_line[step]));
    CHECK(cosine.learning_rate(step, 5) == Approx(on_cosine[step]));
  }
}

TEST_CASE("Schedule: constant stays at the peak, whatever final_share says") {
  const Schedule constant{ScheduleKind::kConstant, 0.3, 0, 0};
  for (const Index step : {0, 1, 50, 99}) CHECK(constant.learning_rate(step, 100) == 0.3);
}

TEST_CASE("Schedule: warm-up rises in equal steps to the peak, from above zero") {
  for (const ScheduleKind kind : kKinds) {
    const Schedule schedule{kind, 2, 0.25, 0.5};
    // A quarter of 16 steps: 1/4, 2/4, 3/4, 4/4 of the peak; then the way down begins at the peak.
    for (const auto& [step, rate] : {std::pair<Index, double>{0, 0.5}, {1, 1.0}, {2, 1.5}, {3, 2.0}, {4, 2.0}})
      CHECK(schedule.learning_rate(step, 16) == Approx(rate));
    CHECK(schedule.learning_rate(15, 16) == Approx(kind == ScheduleKind::kConstant ? 2 : 1));
  }
}

TEST_CASE("Schedule: never rises after the warm-up, ends at final_share and is never 0 before") {
  const Index total = GENERATE(2, 3, 7, 100, 1001);
  const double warmup_share = GENERATE(0.0, 0.1, 0.5), final_share = GENERATE(0.0, 0.02, 1.0);
  for (const ScheduleKind kind : kKinds) {
    const Schedule schedule{kind, 0.01, warmup_share, final_share};
    const auto warmup = static_cast<Index>(warmup_share * static_cast<double>(total));
    for (Index step = 0; step < total; ++step) {
      const double rate = schedule.learning_rate(step, total);
      REQUIRE(rate <= 0.01 * (1 + 1e-12));
      if (step + 1 < total) REQUIRE(rate > 0);
      if (step > 0 && step < warmup) REQUIRE(rate > schedule.learning_rate(step - 1, total));
      if (step > warmup) REQUIRE(rate <= schedule.learning_rate(step - 1, total) * (1 + 1e-12));
    }
    const bool falls = kind != ScheduleKind::kConstant && total - warmup > 1;
    CHECK(schedule.learning_rate(total - 1, total) == Approx(falls ? 0.01 * final_share : 0.01).margin(1e-15));
  }
}

TEST_CASE("Schedule: a single step is taken at the peak") {
  for (const ScheduleKind kind : kKinds) CHECK(Schedule{kind, 0.7, GENERATE(0.0, 0.9), 0}.learning_rate(0, 1) == 0.7);
}

TEST_CASE("Schedule: refuses what makes no sense") {
  CHECK_NOTHROW(Schedule{}.check());
  CHECK_THROWS_WITH((Schedule{ScheduleKind::kLinear, 0}.check()), "Schedule: peak is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH((Schedule{ScheduleKind::kLinear, -1}.check()), "Schedule: peak is -1, but must be a finite number above 0");
  CHECK_THROWS_WITH((Schedule{ScheduleKind::kLinear, std::numeric_limits<double>::infinity()}.check()),
                    "Schedule: peak is inf, but must be a finite number above 0");
  CHECK_THROWS_WITH((Schedule{ScheduleKind::kLinear, 1, 1}.check()), "Schedule: warmup_share is 1, but must be in [0, 0.999]");
  CHECK_THROWS_WITH((Schedule{ScheduleKind::kLinear, 1, 0, 2}.check()), "Schedule: final_share is 2, but must be in [0, 1]");
}
