#include "twotower/baselines/gibbs_sampler.hpp"

#include <Eigen/Cholesky>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/base/random.hpp"
#include "twotower/baselines/gram.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "GibbsSampler";
constexpr Index kRowBlock = 32;     // rows that share scratch
constexpr Index kPanel = 256;       // ratings that enter a system together
constexpr double kPriorRows = 2;    // how many rows the prior of a center counts as
constexpr double kDeviation = 0.3;  // of the first state

// What a stream of a sweep is for.
enum : std::uint64_t { kQuerySide, kItemSide, kQueryRows, kItemRows, kNoise, kUses };

Eigen::VectorXd normals(RandomStream& random, Index count) {
  Eigen::VectorXd values(count);
  for (Index k = 0; k < count; ++k) values[k] = random.normal();
  return values;
}

/// A number of density x^(shape - 1) exp(-x), shape >= 1.
///
/// Source      Marsaglia, Tsang 2000, "A simple method for generating gamma variables"
double gamma(RandomStream& random, double shape) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), root = 1 + c * x, v = root * root * root;
    const double u = 1 - random.uniform();  // above 0
    if (v > 0 && std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

/// A root A of a draw A A' from the Wishart distribution of `freedom` around `root` root'.
///
/// Source      Bartlett 1934, by Smith, Hocking 1972, "Algorithm AS 53: Wishart variate generator"
Eigen::MatrixXd wishart_root(RandomStream& random, const Eigen::MatrixXd& root, double freedom) {
  const Index width = root.rows();
  Eigen::MatrixXd triangle = Eigen::MatrixXd::Zero(width, width);
  for (Index row = 0; row < width; ++row) {
    triangle(row, row) = std::sqrt(2 * gamma(random, (freedom - static_cast<double>(row)) / 2));
    for (Index column = 0; column < row; ++column) triangle(row, column) = random.normal();
  }
  return root * triangle;
}

double dot(const float* a, const float* b, Index width) {
  double sum = 0;
  for (Index k = 0; k < width; ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  return sum;
}

}  // namespace

struct GibbsSampler::Side {
  Eigen::MatrixXd precision;
  Eigen::VectorXd pull;  // precision times center
};

GibbsSampler::GibbsSampler(SparseRows ratings, Index width, std::uint64_t seed)
    : ratings_(std::move(ratings)), of_item_(ratings_.transposed()), seed_(seed) {
  check_at_least(kName, "width", width, 1);
  check_at_least(kName, "the number of ratings", std::ssize(ratings_.values()), 1);
  double sum = 0;
  for (const float value : ratings_.values()) sum += static_cast<double>(value);
  mean_ = sum / static_cast<double>(ratings_.values().size());
  queries_.resize(ratings_.rows(), width);
  items_.resize(of_item_.rows(), width);
  for (auto [rows, use] : {std::pair{&queries_, kQueryRows}, std::pair{&items_, kItemRows}})
    for (Index row = 0; row < rows->rows(); ++row) {
      RandomStream random(seed_, Purpose::kInitialize, use, static_cast<std::uint64_t>(row));
      for (Index k = 0; k < width; ++k) (*rows)(row, k) = static_cast<float>(kDeviation * random.normal());
    }
}

void GibbsSampler::sweep(const Threads& threads) {
  const std::uint64_t first = sweeps_++ * kUses;
  draw_rows(of_item_, queries_, draw_side(items_, first + kItemSide, threads), first + kItemRows, threads, items_);
  draw_rows(ratings_, items_, draw_side(queries_, first + kQuerySide, threads), first + kQueryRows, threads, queries_);
  RandomStream random(seed_, Purpose::kSample, first + kNoise);
  const double count = static_cast<double>(ratings_.values().size());
  // A prior of one rating that is off by one, so that a perfect fit has a finite precision.
  noise_precision_ = gamma(random, 1 + count / 2) / (0.5 + squared_error(threads) / 2);
}

GibbsSampler::Side GibbsSampler::draw_side(ConstRows<float> rows, std::uint64_t stream, const Threads& threads) const {
  const Index width = rows.cols();
  const double count = static_cast<double>(rows.rows());
  const Eigen::VectorXd mean = column_sums(rows) / count;
  // Inverse of the Wishart's scale: identity + sum (row - mean)' (row - mean) + (2 n / (2 + n)) mean' mean.
  Eigen::MatrixXd scatter = gram(rows, threads).selfadjointView<Eigen::Lower>();
  scatter +=
      Eigen::MatrixXd::Identity(width, width) + (kPriorRows * count / (kPriorRows + count) - count) * mean * mean.transpose();
  // scatter = L L', so the scale is L'^-1 L^-1, of which L'^-1 is a root.
  const Eigen::LLT<Eigen::MatrixXd> decomposed(scatter);
  const Eigen::MatrixXd root = decomposed.matrixU().solve(Eigen::MatrixXd::Identity(width, width));
  RandomStream random(seed_, Purpose::kSample, stream);
  const Eigen::MatrixXd drawn = wishart_root(random, root, static_cast<double>(width) + count);
  Side side;
  side.precision = drawn * drawn.transpose();
  const Eigen::LLT<Eigen::MatrixXd> precision((kPriorRows + count) * side.precision);
  const Eigen::VectorXd center = count / (kPriorRows + count) * mean + precision.matrixU().solve(normals(random, width));
  side.pull = side.precision * center;
  return side;
}

void GibbsSampler::draw_rows(const SparseRows& ratings, ConstRows<float> others, const Side& side, std::uint64_t stream,
                             const Threads& threads, Rows<float> rows) const {
  const Index width = rows.cols();
  threads.for_blocks(rows.rows(), kRowBlock, [&](Index begin, Index end, Index) {
    // Sums over ratings in float32: their rounding is far below the noise of a draw.
    Eigen::MatrixXf panel(width, kPanel), sum(width, width);
    Eigen::VectorXf residuals(kPanel), pull(width);
    Eigen::MatrixXd system(width, width);
    for (Index row = begin; row < end; ++row) {
      const std::span<const Row> columns = ratings.columns_of(row);
      const std::span<const float> values = ratings.values_of(row);
      sum.setZero();
      pull.setZero();
      for (std::size_t first = 0; first < columns.size(); first += kPanel) {
        const auto count = std::min<Index>(kPanel, std::ssize(columns) - static_cast<Index>(first));
        for (Index k = 0; k < count; ++k) {
          panel.col(k) = others.row(columns[first + static_cast<std::size_t>(k)]).transpose();
          residuals[k] = values[first + static_cast<std::size_t>(k)] - static_cast<float>(mean_);
        }
        sum.selfadjointView<Eigen::Lower>().rankUpdate(panel.leftCols(count));
        pull.noalias() += panel.leftCols(count) * residuals.head(count);
      }
      system = side.precision + noise_precision_ * sum.cast<double>();  // only the lower triangle means something
      const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> decomposed(system);
      if (decomposed.info() != Eigen::Success) [[unlikely]]
        fail_numerically(kName, "the precision of row " + std::to_string(row) +
                                    " is not positive definite; scale the ratings to a range such as 1 to 5");
      RandomStream random(seed_, Purpose::kSample, stream, static_cast<std::uint64_t>(row));
      Eigen::VectorXd drawn = side.pull + noise_precision_ * pull.cast<double>();
      decomposed.matrixL().solveInPlace(drawn);
      drawn += normals(random, width);
      decomposed.matrixU().solveInPlace(drawn);
      rows.row(row) = drawn.transpose().cast<float>();
    }
  });
}

double GibbsSampler::squared_error(const Threads& threads) const {
  std::vector<double> of_query(static_cast<std::size_t>(ratings_.rows()));
  threads.for_blocks(ratings_.rows(), kRowBlock, [&](Index begin, Index end, Index) {
    for (Index query = begin; query < end; ++query) {
      const std::span<const Row> items = ratings_.columns_of(query);
      const std::span<const float> values = ratings_.values_of(query);
      for (std::size_t k = 0; k < items.size(); ++k) {
        const double error = static_cast<double>(values[k]) - mean_ -
                             dot(queries_.row(query).data(), items_.row(items[k]).data(), queries_.cols());
        of_query[static_cast<std::size_t>(query)] += error * error;
      }
    }
  });
  double sum = 0;
  for (const double value : of_query) sum += value;
  return sum;
}

}  // namespace twotower::baselines
