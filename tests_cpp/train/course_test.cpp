#include "twotower/train/course.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using train::Course;
using train::CourseSpec;
using train::OptimizerKind;
using train::Progress;
using train::ScheduleKind;

namespace {

CourseSpec spec_of(double peak = 0.5, Index epochs = 3) {
  return {{OptimizerKind::kSgd}, {ScheduleKind::kLinear, peak, 0, 0}, epochs};
}

/// A table of three rows of 2, and two numbers in the arena.
nn::Parameters<float> zeros() { return {{0, 0}, {{"table", Matrix<float>::Zero(3, 2)}}}; }

}  // namespace

TEST_CASE("Course: counts steps and examples, means losses, and stops at its end") {
  auto parameters = zeros();
  Course course("Teacher", parameters, spec_of(), 4);
  CHECK(course.steps_per_epoch() == 4);
  CHECK(course.total_steps() == 12);
  const std::vector<nn::RowGradients<float>> gradients(1);
  const std::vector<float> darena{1, -1};
  const auto step = [&] {
    const auto number = static_cast<double>(course.step());
    course.update(gradients, darena, Threads());
    return Course::Step{number, 10};
  };
  const Progress first = course.run(5, Threads(2), step);
  CHECK(first.steps == 5);
  CHECK(first.examples == 50);
  CHECK(first.loss == 2);  // of 0 ... 4
  CHECK(course.step() == 5);
  CHECK(course.run(100, Threads(), step).steps == 7);
  const Progress none = course.run(1, Threads(), step);
  CHECK((none.steps == 0 && none.examples == 0 && none.loss == 0));
}

TEST_CASE("Course: an update moves the arena and the rows with a gradient, by the learning rate of its step") {
  auto parameters = zeros();
  Course course("Teacher", parameters, spec_of(), 1);
  const std::vector<nn::RowTouch> touches{{2, 0, 1}};
  const Matrix<float> gradient = (Matrix<float>(1, 2) << 1, 2).finished();
  std::vector<nn::RowGradients<float>> gradients(1);
  const nn::RowGradients<float>::Source source{touches, {gradient.data(), 1, 2, Eigen::OuterStride<>(2)}};
  gradients[0].sort({&source, 1}, 3);
  CHECK(course.learning_rate() == 0.5);
  course.catch_up(gradients, Threads());
  course.update(gradients, std::vector<float>{1, -1}, Threads());
  CHECK(parameters.arena == std::vector<float>{-0.5F, 0.5F});
  CHECK(parameters.tables[0].values == (Matrix<float>(3, 2) << 0, 0, 0, 0, -0.5F, -1).finished());
  CHECK(course.learning_rate() == 0.25);
  course.update(gradients, std::vector<float>{1, -1}, Threads());
  CHECK(course.learning_rate() == 0);
  course.update(gradients, std::vector<float>{1, -1}, Threads());
  CHECK(parameters.tables[0].values(2, 0) == -0.75F);
  CHECK(course.learning_rate() == 0);  // what it ended with
}

TEST_CASE("Course: rows that Adam has not caught up move when they are read, or at the end") {
  auto parameters = zeros();
  CourseSpec spec = spec_of();
  spec.optimizer.kind = OptimizerKind::kAdam;
  Course course("Teacher", parameters, spec, 4);
  const std::vector<nn::RowTouch> touches{{1, 0, 1}};
  const Matrix<float> gradient = Matrix<float>::Ones(1, 2);
  const nn::RowGradients<float>::Source source{touches, {gradient.data(), 1, 2, Eigen::OuterStride<>(2)}};
  std::vector<nn::RowGradients<float>> touched(1), untouched(1);
  touched[0].sort({&source, 1}, 3);
  const std::vector<float> darena(2);
  course.update(touched, darena, Threads());
  const float once = parameters.tables[0].values(1, 0);
  course.update(untouched, darena, Threads());
  CHECK(parameters.tables[0].values(1, 0) == once);
  course.catch_up(touched, Threads());
  const float caught = parameters.tables[0].values(1, 0);
  CHECK(caught < once);
  course.update(untouched, darena, Threads());
  course.finish(Threads());
  CHECK(parameters.tables[0].values(1, 0) < caught);
}

TEST_CASE("Course: gives up with a sentence") {
  auto parameters = zeros();
  const Course course("Teacher", parameters, spec_of(), 4);
  CHECK_THROWS_AS(course.give_up(1, "the pupil sleeps", "coffee"), NumericalError);
  CHECK_THROWS_WITH(course.give_up(1, "the pupil sleeps", "coffee"),
                    "Teacher: the loss is 1 at step 0 (epoch 1, learning rate 0.5): the pupil sleeps; try coffee");
}

TEST_CASE("Course: refuses what makes no sense, in the trainer's name") {
  auto parameters = zeros();
  const auto make = [&](const CourseSpec& spec) { return Course("Teacher", parameters, spec, 4); };
  CHECK_THROWS_WITH(make(spec_of(0.5, 0)), "Teacher: epochs is 0, but must be at least 1");
  CHECK_THROWS_WITH(make(spec_of(-1)), "Schedule: peak is -1, but must be a finite number above 0");
  Course course = make(spec_of());
  CHECK_THROWS_WITH(course.run(0, Threads(), [] { return Course::Step{0, 0}; }),
                    "Teacher: number of steps is 0, but must be at least 1");
}
