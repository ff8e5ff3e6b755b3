#include "twotower/base/sparse_rows.hpp"

#include "support/catch.hpp"
#include "support/sparse.hpp"

using namespace twotower;
using Offsets = std::vector<std::int64_t>;
using RowList = std::vector<Row>;
using Floats = std::vector<float>;

TEST_CASE("sparse_rows: pairs in any order become rows") {
  const SparseRows rows = SparseRows::of_pairs("pairs", RowList{2, 0, 2, 2}, RowList{1, 0, 0, 1}, Floats{1, 2, 3, 4}, 4, 2);
  CHECK(rows.offsets() == Offsets{0, 1, 1, 4, 4});
  CHECK(rows.columns() == RowList{0, 1, 0, 1});
  CHECK(rows.values() == Floats{2, 1, 3, 4});
  CHECK(rows.size_of(2) == 3);
  CHECK(rows.num_columns() == 2);
}

TEST_CASE("sparse_rows: transposed twice is what it was") {
  const SparseRows rows = test::random_sparse(GENERATE(0, 1, 300), GENERATE(1, 17), 0.3, 1);
  const SparseRows flipped = rows.transposed();
  CHECK(test::dense(flipped) == test::dense(rows).transpose());
  CHECK(flipped.transposed().columns() == rows.columns());
  CHECK(flipped.transposed().values() == rows.values());
}

TEST_CASE("sparse_rows: the product agrees with matrices, for any number of threads") {
  const Index rows = GENERATE(0, 1, 257, 600);
  const SparseRows left = test::random_sparse(rows, 31, 0.2, 2), right = test::random_sparse(31, 13, 0.3, 3);
  const SparseRows product = left.times(right, Threads(1));
  // Whole numbers: every sum is exact.
  CHECK(test::dense(product) == test::dense(left) * test::dense(right));
  for (Index row = 0; row < rows; ++row)
    CHECK(std::is_sorted(product.columns_of(row).begin(), product.columns_of(row).end(), std::less_equal<>()));
  for (const int count : {2, 7}) {
    const SparseRows other = left.times(right, Threads(count));
    CHECK(other.offsets() == product.offsets());
    CHECK(other.columns() == product.columns());
    CHECK(other.values() == product.values());
  }
}

TEST_CASE("sparse_rows: unit rows have length 1, and a column that comes again adds up in a product") {
  const SparseRows rows("rows", Offsets{0, 2, 2, 4}, RowList{0, 1, 1, 1}, Floats{3, 4, 0, 0}, 2);
  CHECK(rows.unit_rows().values() == Floats{0.6F, 0.8F, 0, 0});
  const SparseRows twice("rows", Offsets{0, 2}, RowList{1, 1}, Floats{1, 2}, 2);
  const SparseRows same("rows", Offsets{0, 1, 2}, RowList{0, 1}, Floats{1, 1}, 2);
  CHECK(twice.times(same, Threads(1)).values() == Floats{3});
}

TEST_CASE("sparse_rows: refuses what does not fit") {
  CHECK_THROWS_WITH(SparseRows("rows", Offsets{0, 1}, RowList{2}, Floats{1}, 2), "rows: columns[0] is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(SparseRows("rows", Offsets{0, 1}, RowList{1}, Floats{}, 2),
                    "rows: the number of values is 0, but must equal the number of columns, which is 1");
  CHECK_THROWS_WITH(SparseRows("rows", Offsets{0, 2}, RowList{1}, Floats{1}, 2),
                    "rows: offsets runs from 0 to 2, but must run from 0 to 1");
  CHECK_THROWS_WITH(SparseRows("rows", Offsets{0, 1}, RowList{1}, Floats{NAN}, 2),
                    "rows: values[0] is nan, but must be a finite number");
  CHECK_THROWS_WITH(SparseRows::of_pairs("rows", RowList{3}, RowList{1}, Floats{1}, 2, 2),
                    "rows: rows[0] is 3, but must be in [0, 2)");
  CHECK_THROWS_WITH(SparseRows().times(test::random_sparse(2, 2, 1, 1), Threads(1)),
                    "SparseRows.times: the number of columns is 0, but must equal the number of rows of the other, which is 2");
}
