#include "twotower/train/softmax_loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/base/exponential.hpp"
#include "twotower/nn/ordered_product.hpp"

namespace twotower::train {
namespace {

constexpr const char* kName = "SoftmaxLoss";
constexpr Index kMaxGroups = 8, kMaxChunk = 128;

/// A group costs a matrix like the items, written and read once: it should have a whole chunk of rows to add up.
Index count_groups(Index rows) {
  Index groups = kMaxGroups;
  while (groups > 1 && rows < groups * kMaxChunk) groups /= 2;
  return groups;
}

/// Rows of a chunk, at most: every chunk reads all items, and a chunk's scores should not grow beyond 4 MB.
Index chunk_rows(Index columns) { return std::clamp<Index>((1 << 20) / std::max<Index>(columns, 1) / 32 * 32, 32, kMaxChunk); }

/// Columns of a strip: 32 KB of scores, in whole tiles of the widest registers.
Index strip_columns(Index rows) { return 8192 / rows / 12 * 12; }

Index quotient_up(Index a, Index b) { return (a + b - 1) / b; }

/// Where part `part` of `parts` as equal ones of `rows` rows begins, in whole registers of rows.
template <class Scalar>
Index part_begin(Index rows, Index part, Index parts) {
  constexpr Index kLanes = kRegisterLanes<Scalar>;
  return std::min(rows, quotient_up(rows, kLanes) * part / parts * kLanes);
}

template <class Scalar>
Register<Scalar> larger(Register<Scalar> a, Register<Scalar> b) {
  return a > b ? a : b;
}

/// The arguments of a step, prepared for all threads.
template <class Scalar>
struct Step {
  ConstRows<Scalar> queries;
  const Scalar* items;   // (columns, in_registers(width)), rows items_row apart
  const Scalar* starts;  // (columns) bias and log_weight
  bool with_bias;
  Index columns, items_row;
  const SoftmaxTargets& targets;
  Scalar inverse_temperature;
  Rows<Scalar>& dqueries;
};

/// Sums over the rows of a group.
template <class Scalar>
struct Group {
  Matrix<Scalar> ditems, dbias;  // (columns, in_registers(width)); (columns, lanes), to be summed over lanes
  double loss = 0;
  bool empty = true;
};

template <class Scalar>
struct Positive {
  Index column, row;  // of the chunk
  Scalar weight, score;
};

/// One thread's work on a chunk of rows, strip of columns by strip. "padded" are its rows in whole registers.
template <class Scalar>
class Chunk {
 public:
  /// Adds to the group, writes dqueries.
  void run(const Step<Scalar>& step, Index begin, Index end, Group<Scalar>& group) {
    rows_ = end - begin;
    width_ = nn::in_registers<Scalar>(step.queries.cols());
    padded_ = nn::in_registers<Scalar>(rows_);
    strip_ = strip_columns(padded_);
    take_queries(step, begin);
    take_positives(step, begin);
    exponentials(step);
    group.loss += take_loss();
    gradients(step, group);
    step.dqueries.middleRows(begin, rows_) = dqueries_.topLeftCorner(rows_, step.queries.cols()) * step.inverse_temperature;
  }

 private:
  static constexpr Index kLanes = kRegisterLanes<Scalar>;

  Scalar* scores_at(Index column) { return scores_.data() + column * padded_; }

  void take_queries(const Step<Scalar>& step, Index begin) {
    const Index width = step.queries.cols();
    scaled_.setZero(padded_, width_);
    scaled_.topLeftCorner(rows_, width) = step.queries.middleRows(begin, rows_) * step.inverse_temperature;
    across_.resize(nn::packed_size(width, padded_));
    nn::pack(scaled_.data(), 1, width_, width, padded_, across_.data());
  }

  /// The chunk's positives, strip by strip.
  void take_positives(const Step<Scalar>& step, Index begin) {
    const auto& targets = step.targets;
    const auto offset = [&](Index row) { return targets.offsets[static_cast<std::size_t>(begin + row)]; };
    const auto column = [&](std::int64_t p) { return Index{targets.positive_columns[static_cast<std::size_t>(p)]}; };
    strips_.assign(static_cast<std::size_t>(quotient_up(step.columns, strip_) + 1), 0);
    for (std::int64_t p = offset(0); p < offset(rows_); ++p) ++strips_[static_cast<std::size_t>(column(p) / strip_ + 1)];
    for (std::size_t strip = 1; strip < strips_.size(); ++strip) strips_[strip] += strips_[strip - 1];
    positives_.resize(static_cast<std::size_t>(offset(rows_) - offset(0)));
    next_.assign(strips_.begin(), strips_.end());
    for (Index row = 0; row < rows_; ++row)
      for (std::int64_t p = offset(row); p < offset(row + 1); ++p)
        positives_[next_[static_cast<std::size_t>(column(p) / strip_)]++] = {
            column(p), row, static_cast<Scalar>(targets.positive_weights[static_cast<std::size_t>(p)]), 0};
  }

  std::span<Positive<Scalar>> positives(Index strip) {
    const std::size_t first = strips_[static_cast<std::size_t>(strip)];
    return std::span(positives_).subspan(first, strips_[static_cast<std::size_t>(strip) + 1] - first);
  }

  /// scores become exp(score - largest score of the row so far); largest_, sums_ and references_.
  void exponentials(const Step<Scalar>& step) {
    scores_.resize(step.columns, padded_);
    references_.resize(quotient_up(step.columns, strip_), padded_);
    largest_.setConstant(padded_, std::numeric_limits<Scalar>::lowest());
    sums_.setZero(padded_);
    for (Index first = 0, strip = 0; first < step.columns; first += strip_, ++strip) {
      const Index count = std::min(strip_, step.columns - first);
      nn::ordered_product<Scalar>(step.items + first * step.items_row, step.items_row, 1, count, across_.data(),
                                  step.queries.cols(), 0, step.queries.cols(), padded_, scores_at(first), padded_,
                                  {step.starts + first, 1, 0});
      // A row's own positives weigh 1. All are read before any is written, as one may be there twice.
      for (auto& p : positives(strip))
        p.score = scores_at(p.column)[p.row] - static_cast<Scalar>(step.targets.log_weights[static_cast<std::size_t>(p.column)]);
      for (const auto& p : positives(strip)) scores_at(p.column)[p.row] = p.score;
      for (Index row = 0; row < padded_; row += kLanes) exponentials(scores_at(first) + row, count, row, strip);
    }
  }

  /// The same for a strip of one register of rows.
  void exponentials(Scalar* scores, Index count, Index row, Index strip) {
    using Lanes = Register<Scalar>;
    Lanes& largest = lanes_at(largest_.data() + row);
    const Lanes before = largest;
    Lanes most = before, others = before;
    Index c = 0;
    for (; c + 2 <= count; c += 2) {
      most = larger<Scalar>(lanes_at(scores + c * padded_), most);
      others = larger<Scalar>(lanes_at(scores + (c + 1) * padded_), others);
    }
    if (c < count) most = larger<Scalar>(lanes_at(scores + c * padded_), most);
    most = larger<Scalar>(others, most);
    Lanes sum = {};
    for (c = 0; c < count; ++c) {
      Lanes& score = lanes_at(scores + c * padded_);
      score = exponential(score - most);
      sum += score;
    }
    const Lanes kept = exponential(before - most);
    for (int lane = 0; lane < kLanes; ++lane)
      sums_[row + lane] = sums_[row + lane] * static_cast<double>(kept[lane]) + static_cast<double>(sum[lane]);
    largest = lanes_at(references_.row(strip).data() + row) = most;
  }

  /// The loss; shares_, weight of a row / its denominator.
  double take_loss() {
    weights_.setZero(padded_);
    log_sums_ = sums_.log() + largest_.template cast<double>();
    double loss = 0;
    for (const auto& p : positives_) {
      loss += static_cast<double>(p.weight) * (log_sums_[p.row] - static_cast<double>(p.score));
      weights_[p.row] += static_cast<double>(p.weight);
    }
    shares_ = (weights_ / sums_).template cast<Scalar>();
    return loss;
  }

  void gradients(const Step<Scalar>& step, Group<Scalar>& group) {
    dqueries_.resize(padded_, width_);
    factors_.resize(padded_);
    for (Index first = 0, strip = 0; first < step.columns; first += strip_, ++strip) {
      const Index count = std::min(strip_, step.columns - first);
      for (Index row = 0; row < padded_; row += kLanes)
        lanes_at(factors_.data() + row) =
            lanes_at(shares_.data() + row) *
            exponential(lanes_at(references_.row(strip).data() + row) - lanes_at(largest_.data() + row));
      for (Index column = first; column < first + count; ++column) {
        Register<Scalar> sum = {};
        for (Index row = 0; row < padded_; row += kLanes) {
          Register<Scalar>& score = lanes_at(scores_at(column) + row);
          score *= lanes_at(factors_.data() + row);
          sum += score;
        }
        if (step.with_bias) lanes_at(group.dbias.row(column).data()) += sum;
      }
      for (const auto& p : positives(strip)) {
        scores_at(p.column)[p.row] -= p.weight;
        if (step.with_bias) group.dbias(p.column, 0) -= p.weight;
      }
      nn::ordered_product_in_place<Scalar>(scores_at(first), 1, padded_, rows_, step.items + first * step.items_row,
                                           step.items_row, count, width_, dqueries_.data(), width_,
                                           {first == 0 ? nullptr : dqueries_.data(), width_});
      Scalar* ditems = group.ditems.row(first).data();
      nn::ordered_product_in_place<Scalar>(scores_at(first), padded_, 1, count, scaled_.data(), width_, rows_, width_, ditems,
                                           width_, {group.empty ? nullptr : ditems, width_});
    }
    group.empty = false;
  }

  Index rows_ = 0, padded_ = 0, width_ = 0, strip_ = 0;
  Matrix<Scalar> scaled_, dqueries_;  // (padded, width) queries / temperature; and their gradients
  RowVector<Scalar> across_;          // scaled transposed, in panels
  Matrix<Scalar> scores_;             // (columns, padded)
  Matrix<Scalar> references_;         // (strips, padded) what was subtracted before the exponentials of a strip
  Eigen::Array<Scalar, 1, Eigen::Dynamic> largest_, shares_, factors_;  // (padded)
  Eigen::Array<double, 1, Eigen::Dynamic> sums_, log_sums_, weights_;   // (padded)
  std::vector<Positive<Scalar>> positives_;
  std::vector<std::size_t> strips_, next_;  // where the positives of a strip begin
};

}  // namespace

template <class Scalar>
struct SoftmaxLoss<Scalar>::Memory {
  std::vector<Group<Scalar>> groups{kMaxGroups};
  Matrix<Scalar> items;  // where theirs are not whole registers
  std::vector<Scalar> starts;
  std::vector<std::unique_ptr<Chunk<Scalar>>> idle;  // one for each thread that ran at the same time
  std::mutex access;

  std::unique_ptr<Chunk<Scalar>> take() {
    const std::lock_guard lock(access);
    if (idle.empty()) return std::make_unique<Chunk<Scalar>>();
    auto taken = std::move(idle.back());
    idle.pop_back();
    return taken;
  }

  void give(std::unique_ptr<Chunk<Scalar>> chunk) {
    const std::lock_guard lock(access);
    idle.push_back(std::move(chunk));
  }
};

template <class Scalar>
SoftmaxLoss<Scalar>::SoftmaxLoss(double temperature)
    : inverse_temperature_(static_cast<Scalar>(1 / temperature)), memory_(std::make_unique<Memory>()) {
  check_positive(kName, "temperature", temperature);
}

template <class Scalar>
SoftmaxLoss<Scalar>::SoftmaxLoss(SoftmaxLoss&&) noexcept = default;

template <class Scalar>
SoftmaxLoss<Scalar>::~SoftmaxLoss() = default;

// With e_c = exp(s_c + log_weight_c - max), log_weight_c = 0 for the row's positives, and Z = sum of e_c:
//   loss = sum over p of w_p (log Z - (s_p - max)),   dloss / ds_c = e_c / Z * sum of w_p, less w_p for each positive p that is
//   c.
template <class Scalar>
double SoftmaxLoss<Scalar>::operator()(ConstRows<Scalar> queries, ConstRows<Scalar> items, std::span<const Scalar> bias,
                                       const SoftmaxTargets& targets, Rows<Scalar> dqueries, Rows<Scalar> ditems,
                                       std::span<Scalar> dbias, const Threads& threads) {
  const Index rows = queries.rows(), columns = items.rows(), width = items.cols();
  check_size(kName, "width of queries", queries.cols(), "width of items", width);
  check_size(kName, "size of log_weights", std::ssize(targets.log_weights), "rows of items", columns);
  check_offsets(kName, "offsets", targets.offsets, std::ssize(targets.positive_columns));
  check_size(kName, "size of offsets", std::ssize(targets.offsets), "rows of queries + 1", rows + 1);
  check_size(kName, "size of positive_weights", std::ssize(targets.positive_weights), "size of positive_columns",
             std::ssize(targets.positive_columns));
  check_rows(kName, "positive_columns", targets.positive_columns, columns);
  if (rows > 0) check_at_least(kName, "rows of items", columns, 1);
  if (!bias.empty()) {
    check_size(kName, "size of bias", std::ssize(bias), "rows of items", columns);
    check_size(kName, "size of dbias", std::ssize(dbias), "size of bias", columns);
  }
  check_size(kName, "size of dqueries", dqueries.size(), "size of queries", queries.size());
  check_size(kName, "size of ditems", ditems.size(), "size of items", items.size());

  constexpr Index kLanes = kRegisterLanes<Scalar>;
  const Index padded_width = nn::in_registers<Scalar>(width);
  Memory& memory = *memory_;
  memory.starts.assign(targets.log_weights.begin(), targets.log_weights.end());
  for (std::size_t c = 0; c < bias.size(); ++c) memory.starts[c] += bias[c];
  const bool whole = width == padded_width;
  if (!whole) {
    memory.items.resize(columns, padded_width);
    threads.for_blocks(columns, 1024, [&](Index begin, Index end, Index) {
      memory.items.block(begin, 0, end - begin, width) = items.middleRows(begin, end - begin);
      memory.items.block(begin, width, end - begin, padded_width - width).setZero();
    });
  }
  const Step<Scalar> step{queries,
                          whole ? items.data() : memory.items.data(),
                          memory.starts.data(),
                          !bias.empty(),
                          columns,
                          whole ? items.outerStride() : padded_width,
                          targets,
                          inverse_temperature_,
                          dqueries};

  const Index groups = count_groups(rows);
  threads.for_blocks(groups, 1, [&](Index number, Index, Index) {
    Group<Scalar>& group = memory.groups[static_cast<std::size_t>(number)];
    group.loss = 0;
    group.empty = true;
    group.ditems.resize(columns, padded_width);
    if (step.with_bias) group.dbias.setZero(columns, kLanes);
    const Index begin = part_begin<Scalar>(rows, number, groups), end = part_begin<Scalar>(rows, number + 1, groups);
    const Index chunks = quotient_up(end - begin, chunk_rows(columns));
    auto chunk = memory.take();
    for (Index c = 0; c < chunks; ++c)
      chunk->run(step, begin + part_begin<Scalar>(end - begin, c, chunks), begin + part_begin<Scalar>(end - begin, c + 1, chunks),
                 group);
    memory.give(std::move(chunk));
    if (group.empty) group.ditems.setZero();
  });

  double loss = 0;
  for (Index g = 0; g < groups; ++g) loss += memory.groups[static_cast<std::size_t>(g)].loss;
  threads.for_blocks(columns, 256, [&](Index begin, Index end, Index) {
    for (Index c = begin; c < end; ++c) {
      auto sum = ditems.row(c);
      sum = memory.groups[0].ditems.row(c).head(width);
      for (Index g = 1; g < groups; ++g) sum += memory.groups[static_cast<std::size_t>(g)].ditems.row(c).head(width);
      if (!step.with_bias) continue;
      Eigen::Matrix<Scalar, 1, kLanes> total = memory.groups[0].dbias.row(c);
      for (Index g = 1; g < groups; ++g) total += memory.groups[static_cast<std::size_t>(g)].dbias.row(c);
      dbias[static_cast<std::size_t>(c)] = total.sum();
    }
  });
  return loss;
}

template class SoftmaxLoss<float>;
template class SoftmaxLoss<double>;

}  // namespace twotower::train
