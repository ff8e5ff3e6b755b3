#include "twotower/baselines/gram.hpp"

#include <algorithm>
#include <vector>

namespace twotower::baselines {
namespace {

constexpr Index kGramRows = 1024;  // rows whose products are one part of the sum
constexpr Index kGramChunk = 64;   // rows that are widened to double together

}  // namespace

Eigen::MatrixXd gram(ConstRows<float> rows, const Threads& threads) {
  const Index width = rows.cols(), blocks = std::max<Index>(1, (rows.rows() + kGramRows - 1) / kGramRows);
  std::vector<Eigen::MatrixXd> sums(static_cast<std::size_t>(blocks), Eigen::MatrixXd::Zero(width, width));
  threads.for_blocks(rows.rows(), kGramRows, [&](Index begin, Index end, Index block) {
    Eigen::MatrixXd& sum = sums[static_cast<std::size_t>(block)];
    for (Index first = begin; first < end; first += kGramChunk) {
      const Eigen::MatrixXd chunk = rows.middleRows(first, std::min(kGramChunk, end - first)).cast<double>().transpose();
      sum.selfadjointView<Eigen::Lower>().rankUpdate(chunk);
    }
  });
  std::vector<double*> parts;
  for (Eigen::MatrixXd& sum : sums) parts.push_back(sum.data());
  tree_sum<double>(parts, width * width);
  return sums.front();
}

Eigen::VectorXd column_sums(ConstRows<float> rows) {
  Eigen::VectorXd sums = Eigen::VectorXd::Zero(rows.cols());
  for (Index row = 0; row < rows.rows(); ++row) sums += rows.row(row).cast<double>().transpose();
  return sums;
}

}  // namespace twotower::baselines
