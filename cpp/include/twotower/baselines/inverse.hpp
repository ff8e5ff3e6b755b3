#pragma once
// The inverse of a large positive definite matrix, on several threads.
#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower::baselines {

/// Replaces a symmetric positive definite matrix by its inverse: Cholesky by blocks of columns, then the inverse of the triangle,
/// then its product with itself. The same bytes for any number of threads.
///
/// Shapes      matrix (n, n), of which only the lower triangle is read; the lower triangle is written, the upper one is scratch
/// Throws      NumericalError where the matrix is not positive definite
/// Source      Golub, Van Loan 2013, "Matrix computations", 4.2.9 (block outer product form)
/// Cost        n^3 multiplications; memory: a panel of 128 n doubles
void invert_positive_definite(const Threads& threads, Rows<double> matrix);

}  // namespace twotower::baselines
