#include "twotower/train/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "twotower/base/check.hpp"
#include "twotower/nn/gather.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::train {
namespace {

constexpr Index kAhead = 8;         // rows between asking for one and using it
constexpr Index kMostFades = 4096;  // a table of powers is worth its memory up to here

}  // namespace

void OptimizerSpec::check() const {
  check_in_range("Optimizer", "beta1", beta1, 0, 0.99999);
  check_in_range("Optimizer", "beta2", beta2, 0, 0.9999999);
  check_positive("Optimizer", "epsilon", epsilon);
  check_in_range("Optimizer", "weight_decay", weight_decay, 0, 1e6);
}

template <class Scalar>
Optimizer<Scalar>::Optimizer(const OptimizerSpec& spec, const nn::Parameters<Scalar>& parameters) : spec_(spec), log_kept_{0} {
  spec.check();
  // m falls by beta1 a step and sqrt(v) by sqrt(beta2). Where v falls as fast, the moves do not die out: take them all.
  const double kept = spec.beta1 > 0 ? spec.beta1 / std::sqrt(spec.beta2) : 0;
  if (kept > 0)
    replay_ = kept < 1 ? static_cast<Index>(std::ceil(std::log(kForgotten) / std::log(kept))) : std::numeric_limits<Index>::max();
  if (kept < 1 && replay_ <= kMostFades)
    for (Index j = 0; j <= replay_; ++j) {
      fade_.push_back(std::pow(kept, j));
      rise_.push_back(std::pow(spec.beta2, -0.5 * static_cast<double>(j)));
    }
  const auto state = [&](Index rows, Index width, bool is_table) {
    State made;
    if (spec.kind == OptimizerKind::kSgd) return made;
    const bool one_a_row = spec.kind == OptimizerKind::kRowwiseAdagrad && is_table;
    made.second = nn::rows_on_huge_pages<Scalar>(rows, one_a_row ? 1 : width);
    made.second.setZero();
    if (is_adam()) made.first = nn::rows_on_huge_pages<Scalar>(rows, width);
    made.first.setZero();
    if (replays() && is_table) made.last.assign(static_cast<std::size_t>(rows), 0);
    return made;
  };
  arena_ = state(1, std::ssize(parameters.arena), false);
  for (const auto& table : parameters.tables) tables_.push_back(state(table.values.rows(), table.values.cols(), true));
}

template <class Scalar>
void Optimizer<Scalar>::begin_step(double learning_rate) {
  ++step_;
  learning_rate_ = learning_rate;
  const double decay = learning_rate * spec_.weight_decay;
  if (is_adam()) {
    missed_.push_back({static_cast<Scalar>(learning_rate / (1 - std::pow(spec_.beta1, age_ + step_))),
                       static_cast<Scalar>(1 / std::sqrt(1 - std::pow(spec_.beta2, age_ + step_))), static_cast<Scalar>(decay)});
    log_kept_.push_back(log_kept_.back() + std::log1p(-std::min(decay, 1 - 1e-12)));
  }
}

// Takes the steps after the row's last one up to `until`, as if their gradients were 0.
template <class Scalar>
void Optimizer<Scalar>::replay_row(Scalar* values, State& state, Index row, Index until) const {
  const Index last = state.last[static_cast<std::size_t>(row)], missing = until - last;
  if (missing <= 0) return;
  state.last[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(until);
  if (last == 0 && age_ == 0) {  // never touched: m and v are 0, only the decay moves it
    if (spec_.weight_decay > 0) {
      const auto kept = static_cast<Scalar>(std::exp(log_kept_[static_cast<std::size_t>(until)]));
      for (Index k = 0; k < state.first.cols(); ++k) values[k] *= kept;
    }
    return;
  }
  Scalar* m = state.first.row(row).data();
  Scalar* v = state.second.row(row).data();
  const Index width = state.first.cols(), replayed = std::min(missing, replay_);
  if (replayed < 2 || !take_moves_at_once(values, m, v, width, last, replayed)) take_moves(values, m, v, width, last, replayed);
  if (missing == replayed) return;
  const auto rest = static_cast<double>(missing - replayed);
  const auto shrink1 = static_cast<Scalar>(std::pow(spec_.beta1, rest)),
             shrink2 = static_cast<Scalar>(std::pow(spec_.beta2, rest));
  const auto kept = static_cast<Scalar>(
      std::exp(log_kept_[static_cast<std::size_t>(until)] - log_kept_[static_cast<std::size_t>(last + replayed)]));
  for (Index k = 0; k < width; ++k) {
    m[k] *= shrink1;
    v[k] *= shrink2;
    values[k] *= kept;
  }
}

/// Takes `count` missed moves one by one.
template <class Scalar>
void Optimizer<Scalar>::take_moves(Scalar* __restrict values, Scalar* __restrict m, Scalar* __restrict v, Index width, Index last,
                                   Index count) const {
  const auto beta1 = static_cast<Scalar>(spec_.beta1), beta2 = static_cast<Scalar>(spec_.beta2),
             epsilon = static_cast<Scalar>(spec_.epsilon);
  for (Index s = last + 1; s <= last + count; ++s) {
    const Missed missed = missed_[static_cast<std::size_t>(s) - 1];
    for (Index k = 0; k < width; ++k) {
      m[k] *= beta1;
      v[k] *= beta2;
      values[k] -= missed.decay * values[k] + missed.move * m[k] / (std::sqrt(v[k]) * missed.scale + epsilon);
    }
  }
}

/// The same by Rest; false, and nothing done, where that would not be exact to rounding.
template <class Scalar>
bool Optimizer<Scalar>::take_moves_at_once(Scalar* __restrict values, Scalar* __restrict m, Scalar* __restrict v, Index width,
                                           Index last, Index count) const {
  if (fade_.empty()) return false;
  const Rest rest = this->rest(last, count);
  if (!(rest.fourth < static_cast<double>(std::numeric_limits<Scalar>::epsilon()))) return false;
  const auto sum = static_cast<Scalar>(rest.sum), mean = static_cast<Scalar>(rest.mean),
             second = static_cast<Scalar>(rest.second), third = static_cast<Scalar>(rest.third),
             kept = static_cast<Scalar>(rest.kept);
  const auto shrink1 = static_cast<Scalar>(fade_[static_cast<std::size_t>(count)] / rise_[static_cast<std::size_t>(count)]),
             shrink2 = static_cast<Scalar>(1 / (rise_[static_cast<std::size_t>(count)] * rise_[static_cast<std::size_t>(count)]));
  for (Index k = 0; k < width; ++k) {
    const Scalar inverse = 1 / (std::sqrt(v[k]) + mean), q = mean * inverse;
    values[k] = kept * values[k] - m[k] * inverse * sum * (1 + q * q * (second - q * third));
    m[k] *= shrink1;
    v[k] *= shrink2;
  }
  return true;
}

template <class Scalar>
typename Optimizer<Scalar>::Rest Optimizer<Scalar>::rest(Index last, Index count) const {
  // Moments about the first e_j, in units of epsilon; backwards, since a move is decayed by the steps behind it.
  double kept = 1, sums[5] = {};
  const auto missed = std::span(missed_).subspan(static_cast<std::size_t>(last), static_cast<std::size_t>(count));
  const double pivot = rise_[1] / static_cast<double>(missed[0].scale);
  for (std::size_t j = missed.size(); j > 0; --j) {
    const auto [move, scale, decay] = missed[j - 1];
    const double weight = kept * fade_[j] * static_cast<double>(move) / static_cast<double>(scale);
    const double x = rise_[j] / static_cast<double>(scale) - pivot;
    kept *= 1 - static_cast<double>(decay);
    sums[0] += weight;
    sums[1] += weight * x;
    sums[2] += weight * x * x;
    sums[3] += weight * x * x * x;
    sums[4] += weight * x * x * x * x;
  }
  const double a = sums[1] / sums[0], b = sums[2] / sums[0], c = sums[3] / sums[0], d = sums[4] / sums[0];
  const double mean = pivot + a, square = mean * mean;
  return {sums[0],
          mean * spec_.epsilon,
          (b - a * a) / square,
          (c - 3 * a * b + 2 * a * a * a) / (square * mean),
          (d - 4 * a * c + 6 * a * a * b - 3 * a * a * a * a) / (square * square),
          kept};
}

// Inline, since GCC drops calls of a function that does nothing but this.
template <class Scalar>
[[gnu::always_inline]] inline void Optimizer<Scalar>::prefetch(const Scalar* values, Index width, const State& state,
                                                               Index row) const {
  nn::prefetch_row(values, width);
  if (state.first.size() > 0) nn::prefetch_row(state.first.row(row).data(), state.first.cols());
  if (state.second.size() > 0) nn::prefetch_row(state.second.row(row).data(), state.second.cols());
}

template <class Scalar>
void Optimizer<Scalar>::catch_up(nn::Parameters<Scalar>& parameters, Index table, std::span<const Row> rows,
                                 const Threads& threads) {
  if (!replays()) return;
  auto& values = parameters.tables[static_cast<std::size_t>(table)].values;
  State& state = tables_[static_cast<std::size_t>(table)];
  threads.for_blocks(std::ssize(rows), 64, [&](Index begin, Index end, Index) {
    for (Index k = begin; k < end; ++k) {
      if (const Index ahead = k + kAhead; ahead < end) {
        const Row row = rows[static_cast<std::size_t>(ahead)];
        prefetch(values.row(row).data(), values.cols(), state, row);
      }
      const Row row = rows[static_cast<std::size_t>(k)];
      replay_row(values.row(row).data(), state, row, step_);
    }
  });
}

template <class Scalar>
void Optimizer<Scalar>::update_row(Scalar* __restrict values, const Scalar* __restrict gradient, Index width, State& state,
                                   Index row) const {
  const auto rate = static_cast<Scalar>(learning_rate_), epsilon = static_cast<Scalar>(spec_.epsilon);
  switch (spec_.kind) {
    case OptimizerKind::kSgd:
      for (Index k = 0; k < width; ++k) values[k] -= rate * gradient[k];
      return;
    case OptimizerKind::kAdagrad:
    case OptimizerKind::kRowwiseAdagrad: {
      Scalar* __restrict sums = state.second.row(row).data();
      if (state.second.cols() == width) {
        for (Index k = 0; k < width; ++k) {
          sums[k] += gradient[k] * gradient[k];
          values[k] -= rate * gradient[k] / (std::sqrt(sums[k]) + epsilon);
        }
        return;
      }
      sums[0] +=
          nn::ordered_sum(Eigen::Map<const RowVector<Scalar>>(gradient, width).array().square()) / static_cast<Scalar>(width);
      const Scalar step = rate / (std::sqrt(sums[0]) + epsilon);
      for (Index k = 0; k < width; ++k) values[k] -= step * gradient[k];
      return;
    }
    case OptimizerKind::kAdam:
    case OptimizerKind::kLazyAdam: {
      Scalar* __restrict m = state.first.row(row).data();
      Scalar* __restrict v = state.second.row(row).data();
      const auto beta1 = static_cast<Scalar>(spec_.beta1), beta2 = static_cast<Scalar>(spec_.beta2);
      const Missed now = missed_.back();
      for (Index k = 0; k < width; ++k) {
        m[k] = beta1 * m[k] + (1 - beta1) * gradient[k];
        v[k] = beta2 * v[k] + (1 - beta2) * gradient[k] * gradient[k];
        values[k] -= now.decay * values[k] + now.move * m[k] / (std::sqrt(v[k]) * now.scale + epsilon);
      }
      return;
    }
  }
}

template <class Scalar>
void Optimizer<Scalar>::update_rows(nn::Parameters<Scalar>& parameters, Index table, const nn::RowGradients<Scalar>& gradients,
                                    const Threads& threads) {
  auto& values = parameters.tables[static_cast<std::size_t>(table)].values;
  State& state = tables_[static_cast<std::size_t>(table)];
  const auto rows = gradients.rows();
  threads.for_blocks(std::ssize(rows), 64, [&](Index begin, Index end, Index) {
    thread_local std::vector<Scalar> gradient;
    gradient.resize(static_cast<std::size_t>(values.cols()));
    for (Index k = begin; k < end; ++k) {
      if (const Index ahead = k + kAhead; ahead < end) {
        const Row row = rows[static_cast<std::size_t>(ahead)];
        prefetch(values.row(row).data(), values.cols(), state, row);
        gradients.prefetch(ahead);
      }
      const Row row = rows[static_cast<std::size_t>(k)];
      update_row(values.row(row).data(), gradients.of(k, gradient.data()), values.cols(), state, row);
      if (replays()) state.last[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(step_);
    }
  });
}

template <class Scalar>
void Optimizer<Scalar>::update_arena(nn::Parameters<Scalar>& parameters, std::span<const Scalar> gradient) {
  check_size("Optimizer", "size of gradient", std::ssize(gradient), "size of the arena", std::ssize(parameters.arena));
  if (!gradient.empty()) update_row(parameters.arena.data(), gradient.data(), std::ssize(gradient), arena_, 0);
}

template <class Scalar>
void Optimizer<Scalar>::finish(nn::Parameters<Scalar>& parameters, const Threads& threads) {
  if (!replays()) return;
  for (std::size_t table = 0; table < tables_.size(); ++table) {
    auto& values = parameters.tables[table].values;
    threads.for_blocks(values.rows(), 256, [&](Index begin, Index end, Index) {
      for (Index row = begin; row < end; ++row) replay_row(values.row(row).data(), tables_[table], row, step_);
    });
  }
}

template <class Scalar>
OptimizerState<Scalar> Optimizer<Scalar>::state() const {
  OptimizerState<Scalar> made{age_ + step_, {arena_.first}, {arena_.second}};
  for (const State& table : tables_) {
    made.first.push_back(table.first);
    made.second.push_back(table.second);
  }
  return made;
}

template <class Scalar>
void Optimizer<Scalar>::resume(const OptimizerState<Scalar>& state) {
  check_size("Optimizer", "number of tables in the state", std::ssize(state.first) - 1, "number of tables", std::ssize(tables_));
  check_size("Optimizer", "number of second moments", std::ssize(state.second), "number of first moments",
             std::ssize(state.first));
  if (step_ > 0) fail("Optimizer", "steps were taken already, but a state can be taken up before the first step only");
  const auto take = [](Matrix<Scalar>& own, const Matrix<Scalar>& given) {
    if (given.size() == 0 || own.size() == 0) return;
    check_size("Optimizer", "columns of a state", given.cols(), "columns of its parameters", own.cols());
    check_at_least("Optimizer", "rows of a table", own.rows(), given.rows());
    own.topRows(given.rows()) = given;
  };
  for (std::size_t k = 0; k < state.first.size(); ++k) {
    State& own = k == 0 ? arena_ : tables_[k - 1];
    take(own.first, state.first[k]);
    take(own.second, state.second[k]);
  }
  age_ = static_cast<Index>(state.steps);
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace twotower::train
