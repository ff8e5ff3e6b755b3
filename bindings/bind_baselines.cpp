#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "filters.hpp"
#include "numpy.hpp"
#include "specs.hpp"
#include "twotower/base/check.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/baselines/biases.hpp"
#include "twotower/baselines/ease.hpp"
#include "twotower/baselines/gibbs_sampler.hpp"
#include "twotower/baselines/implicit_als.hpp"
#include "twotower/baselines/item_neighbors.hpp"
#include "twotower/reranking/diversify.hpp"
#include "twotower/retrieval/top_k_of_profiles.hpp"

namespace twotower::bindings {
namespace {

constexpr const char* kTopK = "top_k_of_profiles";
constexpr const char* kPairs = "score_profile_pairs";

template <class T>
std::vector<T> values_of(const py::object& array, const char* function, const char* name) {
  const std::span<const T> values = vector_of<T>(array, function, name);
  return {values.begin(), values.end()};
}

py::array_t<float> copy_of_matrix(const Matrix<float>& matrix) {
  auto copied = new_matrix<float>(matrix.rows(), matrix.cols());
  rows_of(copied) = matrix;
  return copied;
}

// --- sparse rows -------------------------------------------------------------------------------------------------------

std::unique_ptr<SparseRows> make_rows(const py::object& offsets, const py::object& columns, const py::object& values,
                                      Index num_columns) {
  return std::make_unique<SparseRows>("SparseRows", values_of<std::int64_t>(offsets, "SparseRows", "offsets"),
                                      values_of<Row>(columns, "SparseRows", "columns"),
                                      values_of<float>(values, "SparseRows", "values"), num_columns);
}

SparseRows rows_of_pairs(const py::object& rows, const py::object& columns, const py::object& values, Index num_rows,
                         Index num_columns) {
  const auto row_numbers = vector_of<Row>(rows, "SparseRows", "rows");
  const auto column_numbers = vector_of<Row>(columns, "SparseRows", "columns");
  const std::vector<float> given =
      values.is_none() ? std::vector<float>(row_numbers.size(), 1.0F) : values_of<float>(values, "SparseRows", "values");
  const py::gil_scoped_release release;
  return SparseRows::of_pairs("SparseRows", row_numbers, column_numbers, given, num_rows, num_columns);
}

SparseRows product(const SparseRows& self, const SparseRows& other, int num_threads) {
  const Threads threads(num_threads);
  const py::gil_scoped_release release;
  return self.times(other, threads);
}

void bind_sparse_rows(py::module_& m) {
  py::class_<SparseRows>(m, "SparseRows", "A matrix with few values a row; a column that comes again in a row adds up.")
      .def(py::init(&make_rows), py::arg("offsets"), py::arg("columns"), py::arg("values"), py::arg("num_columns"))
      .def_static("of_pairs", &rows_of_pairs, py::arg("rows"), py::arg("columns"), py::arg("values"), py::arg("num_rows"),
                  py::arg("num_columns"), "Value k, 1 where values is None, at (rows[k], columns[k]).")
      .def_property_readonly("rows", &SparseRows::rows)
      .def_property_readonly("num_columns", &SparseRows::num_columns)
      .def_property_readonly("offsets", [](const SparseRows& self) { return copy_of<std::int64_t>(self.offsets()); })
      .def_property_readonly("columns", [](const SparseRows& self) { return copy_of<Row>(self.columns()); })
      .def_property_readonly("values", [](const SparseRows& self) { return copy_of<float>(self.values()); })
      .def("transposed", &SparseRows::transposed, py::call_guard<py::gil_scoped_release>())
      .def("times", &product, py::arg("other"), py::kw_only(), py::arg("num_threads") = -1,
           "The product; columns of a row ascend, each once.")
      .def("unit_rows", &SparseRows::unit_rows, py::call_guard<py::gil_scoped_release>(), "Every row divided by its length.");
}

// --- lists of profiles -------------------------------------------------------------------------------------------------

/// Calls `use` with the postings: SparseRows, or a matrix of which every row speaks of every item.
template <class Use>
void with_postings(const py::object& postings, const char* function, const Use& use) {
  if (py::isinstance<SparseRows>(postings))
    use(postings.cast<const SparseRows&>());
  else
    use(matrix_of<float>(postings, function, "postings"));
}

py::tuple top_k_of_profiles(const FilterArguments& filter_arguments, int num_threads, const SparseRows& profiles,
                            const py::object& postings, const py::object& queries, Index k) {
  const auto asked = vector_of<Row>(queries, kTopK, "queries");
  const retrieval::Filters filters = filter_arguments.view(kTopK);
  const Threads threads(num_threads);
  check_at_least(kTopK, "k", k, 1);  // the results have k columns
  auto rows = new_matrix<Row>(std::ssize(asked), k);
  auto scores = new_matrix<float>(std::ssize(asked), k);
  auto row_view = rows_of(rows);
  auto score_view = rows_of(scores);
  with_postings(postings, kTopK, [&](const auto& table) {
    const py::gil_scoped_release release;
    retrieval::top_k_of_profiles(profiles, table, asked, k, filters, threads, row_view, score_view);
  });
  return py::make_tuple(rows, scores);
}

py::array_t<float> score_profile_pairs(const SparseRows& profiles, const py::object& postings, const py::object& queries,
                                       const py::object& items, int num_threads) {
  const auto asked = vector_of<Row>(queries, kPairs, "queries");
  const auto item_rows = vector_of<Row>(items, kPairs, "items");
  const Threads threads(num_threads);
  auto scores = new_vector<float>(std::ssize(asked));
  const auto view = span_of(scores);
  with_postings(postings, kPairs, [&](const auto& table) {
    const py::gil_scoped_release release;
    retrieval::score_profile_pairs(profiles, table, asked, item_rows, threads, view);
  });
  return scores;
}

// --- models ------------------------------------------------------------------------------------------------------------

SparseRows item_neighbors(const SparseRows& met, Index neighbors, const std::string& likeness, double shrink, int num_threads) {
  using baselines::Likeness;
  const Kinds<Likeness> kinds{{"cosine", Likeness::kCosine}, {"jaccard", Likeness::kJaccard}, {"tfidf", Likeness::kTfIdf}};
  const Likeness kind = named(kinds, likeness, "item_neighbors", "likeness");
  const Threads threads(num_threads);
  const py::gil_scoped_release release;
  return baselines::item_neighbors(met, neighbors, kind, shrink, threads);
}

py::array_t<float> ease(const SparseRows& met, double regularization, int num_threads) {
  const Threads threads(num_threads);
  auto weights = new_matrix<float>(met.num_columns(), met.num_columns());
  auto view = rows_of(weights);
  {
    const py::gil_scoped_release release;
    baselines::ease(met, regularization, threads, view);
  }
  return weights;
}

py::tuple fit_biases(const SparseRows& ratings, double user_shrink, double item_shrink, int num_threads) {
  const Threads threads(num_threads);
  baselines::Biases found{};
  {
    const py::gil_scoped_release release;
    found = baselines::fit_biases(ratings, user_shrink, item_shrink, threads);
  }
  return py::make_tuple(found.mean, copy_of<float>(found.of_query), copy_of<float>(found.of_item));
}

template <class Model>
void sweep(Model& model, int num_threads) {
  const Threads threads(num_threads);
  const py::gil_scoped_release release;
  model.sweep(threads);
}

void bind_factors(py::module_& m) {
  py::class_<baselines::ImplicitAls>(m, "ImplicitAls", "Factors of implicit feedback, by alternating least squares.")
      .def(py::init([](const SparseRows& positives, Index dim, double deviation, double regularization, double unobserved_weight,
                       double frequency_exponent, std::uint64_t seed) {
             const baselines::AlsSpec spec{regularization, unobserved_weight, frequency_exponent};
             return std::make_unique<baselines::ImplicitAls>(positives, dim, deviation, spec, seed);
           }),
           py::arg("positives"), py::kw_only(), py::arg("dim"), py::arg("deviation"), py::arg("regularization"),
           py::arg("unobserved_weight"), py::arg("frequency_exponent"), py::arg("seed"))
      .def("sweep", &sweep<baselines::ImplicitAls>, py::kw_only(), py::arg("num_threads") = -1,
           "Solves for the users, then for the items.")
      .def_property_readonly("users", [](const baselines::ImplicitAls& self) { return copy_of_matrix(self.queries()); })
      .def_property_readonly("items", [](const baselines::ImplicitAls& self) { return copy_of_matrix(self.items()); });

  py::class_<baselines::GibbsSampler>(m, "GibbsSampler", "Draws factors of ratings from their posterior.")
      .def(py::init<SparseRows, Index, std::uint64_t>(), py::arg("ratings"), py::kw_only(), py::arg("dim"), py::arg("seed"))
      .def("sweep", &sweep<baselines::GibbsSampler>, py::kw_only(), py::arg("num_threads") = -1, "Draws the next state.")
      .def_property_readonly("mean", &baselines::GibbsSampler::mean)
      .def_property_readonly("noise_precision", &baselines::GibbsSampler::noise_precision)
      .def_property_readonly("users", [](const baselines::GibbsSampler& self) { return copy_of_matrix(self.queries()); })
      .def_property_readonly("items", [](const baselines::GibbsSampler& self) { return copy_of_matrix(self.items()); });
}

// --- the end of the pipeline -------------------------------------------------------------------------------------------

py::array_t<Row> diversify(const py::object& offsets, const py::object& items, const py::object& scores,
                           const py::object& vectors, const py::list& caps, Index k, double trade_off, int num_threads) {
  const reranking::Candidates candidates{vector_of<std::int64_t>(offsets, "diversify", "offsets"),
                                         vector_of<Row>(items, "diversify", "items"),
                                         vector_of<float>(scores, "diversify", "scores")};
  const auto table = matrix_of<float>(vectors, "diversify", "vectors");
  std::vector<reranking::Cap> limits;
  for (const py::handle& cap : caps) {
    const auto parts = cap.cast<py::tuple>();
    limits.push_back({vector_of<std::int64_t>(parts[0], "diversify", "offsets of a cap"),
                      vector_of<Row>(parts[1], "diversify", "codes of a cap"), parts[2].cast<Index>(), parts[3].cast<Index>()});
  }
  const Threads threads(num_threads);
  check_at_least("diversify", "k", k, 1);  // the result has k columns
  auto picked = new_matrix<Row>(std::ssize(candidates.offsets) - 1, k);
  auto view = rows_of(picked);
  {
    const py::gil_scoped_release release;
    reranking::diversify(candidates, table, limits, trade_off, threads, view);
  }
  return picked;
}

}  // namespace

void bind_baselines(py::module_& m) {
  bind_sparse_rows(m);
  const auto def_filtered = [&](const auto&... filters) {
    m.def("top_k_of_profiles", with_filters(&top_k_of_profiles), py::arg("profiles"), py::arg("postings"), py::arg("queries"),
          py::arg("k"), filters...,
          "The k items of the largest score for the profiles `queries`, int32 (n), best first, equal scores by the smaller row:\n"
          "int32 rows and float32 scores, both (n, k). postings: SparseRows or a float32 matrix (features, items). Filters, and\n"
          "what stands where nothing is left, as in ItemIndex.top_k.");
  };
  std::apply(def_filtered, filter_names());
  m.def("score_profile_pairs", &score_profile_pairs, py::arg("profiles"), py::arg("postings"), py::arg("queries"),
        py::arg("items"), py::kw_only(), py::arg("num_threads") = -1,
        "Scores of given pairs, float32 (n), with the bits of top_k_of_profiles.");
  m.def("item_neighbors", &item_neighbors, py::arg("met"), py::kw_only(), py::arg("neighbors"), py::arg("likeness"),
        py::arg("shrink"), py::arg("num_threads") = -1);
  m.def("ease", &ease, py::arg("met"), py::kw_only(), py::arg("regularization"), py::arg("num_threads") = -1);
  m.def("fit_biases", &fit_biases, py::arg("ratings"), py::kw_only(), py::arg("user_shrink"), py::arg("item_shrink"),
        py::arg("num_threads") = -1, "Mean, biases of users and biases of items, float32.");
  bind_factors(m);
  m.def("diversify", &diversify, py::arg("offsets"), py::arg("items"), py::arg("scores"), py::arg("vectors"), py::arg("caps"),
        py::kw_only(), py::arg("k"), py::arg("trade_off"), py::arg("num_threads") = -1,
        "Places in each list, int32 (lists, k), -1 where nothing is left. A cap: offsets, codes, number of codes, limit.");
}

}  // namespace twotower::bindings
