#include "twotower/train/softmax_loss.hpp"

#include <algorithm>
#include <cmath>

#include "twotower/base/check.hpp"

namespace twotower::train {
namespace {

constexpr const char* kName = "SoftmaxLoss";
constexpr Index kGroups = 8;

/// Rows a panel: what keeps rows x columns scores near half a megabyte, so that three passes over them stay in L2.
Index panel_rows(Index columns) { return std::clamp<Index>((512 * 1024 / 4) / std::max<Index>(columns, 1), 16, 128); }

}  // namespace

template <class Scalar>
SoftmaxLoss<Scalar>::SoftmaxLoss(double temperature)
    : inverse_temperature_(static_cast<Scalar>(1 / temperature)), groups_(kGroups) {
  check_positive(kName, "temperature", temperature);
}

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

  const Index panel_size = panel_rows(columns), panels = (rows + panel_size - 1) / panel_size;
  const Index panels_a_group = std::max<Index>(1, (panels + kGroups - 1) / kGroups);
  const Index used = (panels + panels_a_group - 1) / panels_a_group;
  threads.for_blocks(panels, panels_a_group, [&](Index first, Index last, Index number) {
    Group& group = groups_[static_cast<std::size_t>(number)];
    group.ditems.setZero(columns, width);
    group.dbias.setZero(columns);
    group.loss = 0;
    for (Index p = first; p < last; ++p)
      group.loss += panel(p * panel_size, std::min(rows, (p + 1) * panel_size), queries, items, bias, targets, dqueries, group);
  });

  double loss = 0;
  for (Index g = 0; g < used; ++g) loss += groups_[static_cast<std::size_t>(g)].loss;
  // Blocks of columns, each summing the groups in their order.
  threads.for_blocks(columns, 256, [&](Index begin, Index end, Index) {
    auto sum = ditems.middleRows(begin, end - begin);
    sum.setZero();
    for (Index g = 0; g < used; ++g) sum += groups_[static_cast<std::size_t>(g)].ditems.middleRows(begin, end - begin);
    if (bias.empty()) return;
    for (Index c = begin; c < end; ++c) {
      Scalar total = 0;
      for (Index g = 0; g < used; ++g) total += groups_[static_cast<std::size_t>(g)].dbias[c];
      dbias[static_cast<std::size_t>(c)] = total;
    }
  });
  return loss;
}

// With e_c = exp(s_c + log_weight_c - max), log_weight_c = 0 for the row's positives, and Z = sum of e_c:
//   loss = sum over p of w_p (log Z - (s_p - max)),   dloss / ds_c = e_c / Z * sum of w_p, less w_p for each positive p that is
//   c.
template <class Scalar>
double SoftmaxLoss<Scalar>::panel(Index begin, Index end, ConstRows<Scalar> queries, ConstRows<Scalar> items,
                                  std::span<const Scalar> bias, const SoftmaxTargets& targets, Rows<Scalar> dqueries,
                                  Group& group) const {
  const Index rows = end - begin, columns = items.rows();
  const Eigen::Map<const RowVector<float>> log_weights(targets.log_weights.data(), columns);
  group.scaled = queries.middleRows(begin, rows) * inverse_temperature_;
  group.scores.resize(rows, columns);
  group.scores.noalias() = group.scaled * items.transpose();

  double loss = 0;
  for (Index row = 0; row < rows; ++row) {
    auto scores = group.scores.row(row);
    const auto first = static_cast<std::size_t>(targets.offsets[static_cast<std::size_t>(begin + row)]);
    const auto last = static_cast<std::size_t>(targets.offsets[static_cast<std::size_t>(begin + row) + 1]);
    if (!bias.empty()) scores += Eigen::Map<const RowVector<Scalar>>(bias.data(), columns);
    group.positives.clear();
    for (std::size_t p = first; p < last; ++p) group.positives.push_back(scores[targets.positive_columns[p]]);
    scores += log_weights.template cast<Scalar>();
    for (std::size_t p = first; p < last; ++p) scores[targets.positive_columns[p]] = group.positives[p - first];
    const Scalar highest = scores.maxCoeff();
    scores = (scores.array() - highest).exp().matrix();
    const double sum = scores.template cast<double>().sum(), log_sum = std::log(sum) + static_cast<double>(highest);

    double weight_of_row = 0;
    for (std::size_t p = first; p < last; ++p) {
      const double weight = static_cast<double>(targets.positive_weights[p]);
      loss += weight * (log_sum - static_cast<double>(group.positives[p - first]));
      weight_of_row += weight;
    }
    scores *= static_cast<Scalar>(weight_of_row / sum);
    for (std::size_t p = first; p < last; ++p)
      scores[targets.positive_columns[p]] -= static_cast<Scalar>(targets.positive_weights[p]);
  }

  dqueries.middleRows(begin, rows).noalias() = inverse_temperature_ * group.scores * items;  // the scale goes into the product
  group.ditems.noalias() += group.scores.transpose() * group.scaled;
  if (!bias.empty()) group.dbias += group.scores.colwise().sum();
  return loss;
}

template class SoftmaxLoss<float>;
template class SoftmaxLoss<double>;

}  // namespace twotower::train
