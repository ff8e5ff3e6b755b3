#pragma once
// The sampled softmax once more, positive by positive and candidate by candidate, as loops that can be checked by eye.
#include <algorithm>
#include <cmath>
#include <vector>

#include "support/random_matrix.hpp"
#include "twotower/train/softmax_loss.hpp"

namespace twotower::test {

/// A batch as the loss sees it.
struct SoftmaxProblem {
  Matrix<double> queries, items;  // (rows, width), (columns, width)
  std::vector<double> bias;       // (columns) or empty
  double temperature = 0.5;
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> positive_columns{};
  std::vector<float> positive_weights{}, log_weights{};

  train::SoftmaxTargets targets() const { return {offsets, positive_columns, positive_weights, log_weights}; }
};

template <class Scalar>
struct SoftmaxAnswer {
  double loss = 0;
  Matrix<Scalar> dqueries, ditems;
  std::vector<Scalar> dbias;
};

/// Rows with 0 to 4 positives, repeats among them; all numbers can be held by a float.
inline SoftmaxProblem random_softmax(Index rows, Index columns, Index width, bool with_bias) {
  RandomStream random(static_cast<std::uint64_t>(rows * 10007 + columns), Purpose::kTest);
  SoftmaxProblem made{random_matrix<double>(rows, width, 1), random_matrix<double>(columns, width, 2), {}};
  for (Index c = 0; c < columns; ++c) {
    made.log_weights.push_back(static_cast<float>(3 * random.uniform()));
    if (with_bias) made.bias.push_back(static_cast<float>(random.uniform()));
  }
  for (Index row = 0; row < rows; ++row) {
    for (std::int64_t left = rows == 1 ? 2 : random.below(5); left > 0; --left) {
      made.positive_columns.push_back(static_cast<Row>(random.below(columns)));
      made.positive_weights.push_back(static_cast<float>((0.5 + random.uniform()) / static_cast<double>(2 * rows)));
    }
    made.offsets.push_back(std::ssize(made.positive_columns));
  }
  return made;
}

inline SoftmaxAnswer<double> naive_softmax(const SoftmaxProblem& problem) {
  const Index rows = problem.queries.rows(), columns = problem.items.rows(), width = problem.items.cols();
  SoftmaxAnswer<double> answer{0, Matrix<double>::Zero(rows, width), Matrix<double>::Zero(columns, width),
                               std::vector<double>(problem.bias.size())};
  const auto at = [](Index k) { return static_cast<std::size_t>(k); };
  for (Index row = 0; row < rows; ++row) {
    std::vector<double> scores(at(columns)), dscores(at(columns));
    for (Index c = 0; c < columns; ++c) {
      double product = 0;
      for (Index k = 0; k < width; ++k) product += problem.queries(row, k) * problem.items(c, k);
      scores[at(c)] = product / problem.temperature + (problem.bias.empty() ? 0 : problem.bias[at(c)]);
    }
    for (auto p = at(problem.offsets[at(row)]); p < at(problem.offsets[at(row) + 1]); ++p) {
      const Index own = problem.positive_columns[p];
      const double weight = static_cast<double>(problem.positive_weights[p]);
      std::vector<double> terms(at(columns));
      for (Index c = 0; c < columns; ++c) terms[at(c)] = scores[at(c)] + static_cast<double>(problem.log_weights[at(c)]);
      // All positives of the row weigh 1, this one and the others.
      for (auto q = at(problem.offsets[at(row)]); q < at(problem.offsets[at(row) + 1]); ++q)
        terms[at(problem.positive_columns[q])] = scores[at(problem.positive_columns[q])];
      const double highest = *std::max_element(terms.begin(), terms.end());
      double sum = 0;
      for (const double term : terms) sum += std::exp(term - highest);
      answer.loss += weight * (highest + std::log(sum) - terms[at(own)]);
      for (Index c = 0; c < columns; ++c)
        dscores[at(c)] += weight * (std::exp(terms[at(c)] - highest) / sum - (c == own ? 1 : 0));
    }
    for (Index c = 0; c < columns; ++c) {
      if (!problem.bias.empty()) answer.dbias[at(c)] += dscores[at(c)];
      for (Index k = 0; k < width; ++k) {
        answer.dqueries(row, k) += dscores[at(c)] * problem.items(c, k) / problem.temperature;
        answer.ditems(c, k) += dscores[at(c)] * problem.queries(row, k) / problem.temperature;
      }
    }
  }
  return answer;
}

/// What the library makes of it. Outputs start from NaN: all must be written.
template <class Scalar>
SoftmaxAnswer<Scalar> fast_softmax(train::SoftmaxLoss<Scalar>& loss, const SoftmaxProblem& problem, int num_threads) {
  const Matrix<Scalar> queries = problem.queries.cast<Scalar>(), items = problem.items.cast<Scalar>();
  const std::vector<Scalar> bias(problem.bias.begin(), problem.bias.end());
  const Scalar nan = std::numeric_limits<Scalar>::quiet_NaN();
  SoftmaxAnswer<Scalar> answer{0, Matrix<Scalar>::Constant(queries.rows(), queries.cols(), nan),
                               Matrix<Scalar>::Constant(items.rows(), items.cols(), nan), std::vector<Scalar>(bias.size(), nan)};
  answer.loss = loss(queries, items, bias, problem.targets(), answer.dqueries, answer.ditems, answer.dbias, Threads(num_threads));
  return answer;
}

template <class Scalar>
SoftmaxAnswer<Scalar> fast_softmax(const SoftmaxProblem& problem, int num_threads = 1) {
  train::SoftmaxLoss<Scalar> loss(problem.temperature);
  return fast_softmax(loss, problem, num_threads);
}

}  // namespace twotower::test
