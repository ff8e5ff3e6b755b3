#include "twotower/baselines/implicit_als.hpp"

#include <Eigen/Cholesky>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/base/random.hpp"
#include "twotower/baselines/gram.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "solve_rows";
constexpr Index kRowBlock = 64;  // rows that share scratch
constexpr Index kPanel = 256;    // positives that enter a system together

// Columns are vectors: gathered by whole columns, and factorized in place.
using Columns = Eigen::MatrixXf;

/// Solves one row's system after the other, in scratch of its own. Only lower triangles are used.
class Solver {
 public:
  Solver(ConstRows<float> fixed, const Columns& gram, const AlsSpec& spec)
      : fixed_(fixed), gram_(gram), spec_(spec), system_(gram.rows(), gram.cols()), panel_(gram.rows(), kPanel), roots_(kPanel) {}

  /// The factors of a row with positives in `columns`; false where there is no solution.
  bool solve(std::span<const Row> columns, std::span<const float> weights, Eigen::Ref<Eigen::VectorXf> factors) {
    system_.triangularView<Eigen::Lower>() = gram_;
    factors.setZero();
    double total = spec_.unobserved_weight * static_cast<double>(fixed_.rows());
    for (std::size_t first = 0; first < columns.size(); first += kPanel) {
      const auto count = std::min<Index>(kPanel, std::ssize(columns) - static_cast<Index>(first));
      for (Index k = 0; k < count; ++k) {
        const float weight = weights[first + static_cast<std::size_t>(k)];
        total += static_cast<double>(weight);
        roots_[k] = std::sqrt(weight);
        panel_.col(k) = roots_[k] * fixed_.row(columns[first + static_cast<std::size_t>(k)]).transpose();
      }
      system_.selfadjointView<Eigen::Lower>().rankUpdate(panel_.leftCols(count));
      factors.noalias() += panel_.leftCols(count) * roots_.head(count);
    }
    system_.diagonal().array() += static_cast<float>(spec_.regularization * std::pow(total, spec_.frequency_exponent));
    const Eigen::LLT<Eigen::Ref<Columns>> decomposed(system_);
    if (decomposed.info() != Eigen::Success) return false;
    decomposed.solveInPlace(factors);
    return factors.allFinite();
  }

 private:
  ConstRows<float> fixed_;
  const Columns& gram_;
  const AlsSpec& spec_;
  Columns system_, panel_;
  Eigen::VectorXf roots_;
};

}  // namespace

void solve_rows(const SparseRows& positives, ConstRows<float> fixed, const AlsSpec& spec, const Threads& threads,
                Rows<float> solved) {
  check_size(kName, "the number of columns of the positives", positives.num_columns(), "the number of fixed rows", fixed.rows());
  check_size(kName, "the number of solved rows", solved.rows(), "the number of rows of the positives", positives.rows());
  check_size(kName, "the width of the solved rows", solved.cols(), "that of the fixed ones", fixed.cols());
  check_positive(kName, "regularization", spec.regularization);
  check_positive(kName, "unobserved_weight", spec.unobserved_weight);
  check_not_negative(kName, "weights", positives.values());
  const Columns gram = (spec.unobserved_weight * baselines::gram(fixed, threads)).cast<float>();
  threads.for_blocks(positives.rows(), kRowBlock, [&](Index begin, Index end, Index) {
    Solver solver(fixed, gram, spec);
    Eigen::VectorXf factors(fixed.cols());
    for (Index row = begin; row < end; ++row) {
      if (!solver.solve(positives.columns_of(row), positives.values_of(row), factors)) [[unlikely]]
        fail_numerically(kName, "the system of row " + std::to_string(row) + " has no solution; raise regularization, which is " +
                                    shown(spec.regularization));
      solved.row(row) = factors.transpose();
    }
  });
}

ImplicitAls::ImplicitAls(SparseRows positives, Index width, double deviation, const AlsSpec& spec, std::uint64_t seed)
    : positives_(std::move(positives)), of_item_(positives_.transposed()), spec_(spec) {
  check_at_least("ImplicitAls", "width", width, 1);
  check_positive("ImplicitAls", "deviation", deviation);
  queries_.setZero(positives_.rows(), width);
  items_.resize(positives_.num_columns(), width);
  const double scale = deviation / std::sqrt(static_cast<double>(width));
  for (Index item = 0; item < items_.rows(); ++item) {
    RandomStream random(seed, Purpose::kInitialize, 0, static_cast<std::uint64_t>(item));
    for (Index k = 0; k < width; ++k) items_(item, k) = static_cast<float>(scale * random.normal());
  }
}

void ImplicitAls::sweep(const Threads& threads) {
  solve_rows(positives_, items_, spec_, threads, queries_);
  solve_rows(of_item_, queries_, spec_, threads, items_);
}

}  // namespace twotower::baselines
