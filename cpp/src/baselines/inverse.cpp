#include "twotower/baselines/inverse.hpp"

#include <Eigen/Cholesky>

#include <algorithm>
#include <string>

#include "twotower/base/check.hpp"

namespace twotower::baselines {
namespace {

constexpr const char* kName = "invert_positive_definite";
constexpr Index kBlock = 128;  // columns that are eliminated together
constexpr Index kRows = 256;   // rows of a task

/// Lower triangle of `matrix` becomes L with L L' = matrix.
void decompose(const Threads& threads, Rows<double> matrix) {
  const Index n = matrix.rows();
  for (Index k = 0; k < n; k += kBlock) {
    const Index width = std::min(kBlock, n - k), below = k + width;
    auto corner = matrix.block(k, k, width, width);
    const Eigen::LLT<Matrix<double>> decomposed(corner);
    if (decomposed.info() != Eigen::Success) [[unlikely]]
      fail_numerically(kName, "the matrix is not positive definite at row " + std::to_string(k) + " or below");
    corner.triangularView<Eigen::Lower>() = decomposed.matrixL();
    const Matrix<double> small = decomposed.matrixL();
    threads.for_blocks(n - below, kRows, [&](Index begin, Index end, Index) {
      auto panel = matrix.block(below + begin, k, end - begin, width);
      small.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(panel);
    });
    threads.for_blocks(n - below, kRows, [&](Index begin, Index end, Index) {
      const auto left = matrix.block(below + begin, k, end - begin, width);
      matrix.block(below + begin, below, end - begin, end).noalias() -= left * matrix.block(below, k, end, width).transpose();
    });
  }
}

/// Lower triangle L becomes its inverse, block row by block row from the top: X_i = -L_ii^-1 (L_i,0..i-1 X_0..i-1).
void invert_triangle(const Threads& threads, Rows<double> matrix) {
  const Index n = matrix.rows();
  for (Index k = 0; k < n; k += kBlock) {
    const Index width = std::min(kBlock, n - k);
    Matrix<double> corner = Matrix<double>::Identity(width, width);
    matrix.block(k, k, width, width).triangularView<Eigen::Lower>().solveInPlace(corner);
    const Matrix<double> row = matrix.block(k, 0, width, k);
    threads.for_blocks(k, kBlock, [&](Index begin, Index end, Index) {
      // The inverse is lower triangular too: columns [begin, end) of it start at row begin.
      const Matrix<double> sum = row.middleCols(begin, k - begin) * matrix.block(begin, begin, k - begin, end - begin);
      matrix.block(k, begin, width, end - begin).noalias() = -(corner.triangularView<Eigen::Lower>() * sum);
    });
    matrix.block(k, k, width, width) = corner;  // zeros above the diagonal, which the products read
  }
}

}  // namespace

void invert_positive_definite(const Threads& threads, Rows<double> matrix) {
  check_size(kName, "the number of columns", matrix.cols(), "the number of rows", matrix.rows());
  const Index n = matrix.rows();
  decompose(threads, matrix);
  invert_triangle(threads, matrix);
  // X' X, block row by block row from the top: row block k of the product needs rows k and below, which are still those of X.
  for (Index k = 0; k < n; k += kBlock) {
    const Index width = std::min(kBlock, n - k);
    const Matrix<double> own = matrix.block(k, k, n - k, width);
    threads.for_blocks(k + width, kBlock, [&](Index begin, Index end, Index) {
      const Matrix<double> product = own.transpose() * matrix.block(k, begin, n - k, end - begin);
      matrix.block(k, begin, width, end - begin) = product;
    });
  }
}

}  // namespace twotower::baselines
