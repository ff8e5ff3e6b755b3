#include <memory>
#include <optional>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/base/parallel.hpp"
#include "twotower/retrieval/packed_items.hpp"
#include "twotower/retrieval/score_pairs.hpp"
#include "twotower/retrieval/top_k.hpp"

namespace twotower::bindings {
namespace {

using retrieval::Filters;
using retrieval::PackedItems;
using retrieval::SeenLists;

/// The filters of a call; `allowed_bytes` keeps a view of bools as bytes alive.
Filters filters_of(const py::object& seen_of_query, const py::object& seen_offsets, const py::object& seen_items,
                   const py::object& allowed, py::object& allowed_bytes) {
  Filters filters;
  const auto of_query = optional_vector_of<Row>(seen_of_query, "top_k", "seen_of_query");
  const auto offsets = optional_vector_of<std::int64_t>(seen_offsets, "top_k", "seen_offsets");
  const auto items = optional_vector_of<Row>(seen_items, "top_k", "seen_items");
  if (of_query && offsets && items)
    filters.seen = SeenLists{*of_query, *offsets, *items};
  else if (of_query || offsets || items)
    fail("top_k", "seen_of_query, seen_offsets and seen_items belong together; give all three or none");
  const bool is_bool = py::isinstance<py::array>(allowed) && allowed.attr("dtype").attr("kind").cast<std::string>() == "b";
  allowed_bytes = is_bool ? py::object(allowed.attr("view")("uint8")) : allowed;
  filters.allowed = optional_vector_of<std::uint8_t>(allowed_bytes, "top_k", "allowed");
  return filters;
}

py::tuple top_k(const PackedItems& items, const py::object& queries, Index k, const py::object& seen_of_query,
                const py::object& seen_offsets, const py::object& seen_items, const py::object& allowed, int num_threads) {
  const auto vectors = matrix_of<float>(queries, "top_k", "queries");
  py::object allowed_bytes;
  const Filters filters = filters_of(seen_of_query, seen_offsets, seen_items, allowed, allowed_bytes);
  const Threads threads(num_threads);
  check_at_least("top_k", "k", k, 1);  // the results have k columns
  auto rows = new_matrix<Row>(vectors.rows(), k);
  auto scores = new_matrix<float>(vectors.rows(), k);
  auto row_view = rows_of(rows);
  auto score_view = rows_of(scores);
  {
    const py::gil_scoped_release release;
    retrieval::top_k(items, vectors, k, filters, threads, row_view, score_view);
  }
  return py::make_tuple(rows, scores);
}

py::array_t<float> score_pairs(const py::object& queries, const py::object& items, const py::object& query_rows,
                               const py::object& item_rows, int num_threads) {
  const auto query_vectors = matrix_of<float>(queries, "score_pairs", "queries");
  const auto item_vectors = matrix_of<float>(items, "score_pairs", "items");
  const auto of_query = vector_of<Row>(query_rows, "score_pairs", "query_rows");
  const auto of_item = vector_of<Row>(item_rows, "score_pairs", "item_rows");
  const Threads threads(num_threads);
  auto scores = new_vector<float>(static_cast<Index>(of_query.size()));
  const auto score_view = span_of(scores);
  {
    const py::gil_scoped_release release;
    retrieval::score_pairs(query_vectors, item_vectors, of_query, of_item, threads, score_view);
  }
  return scores;
}

}  // namespace

void bind_retrieval(py::module_& m) {
  py::class_<PackedItems>(m, "PackedItems", "Item vectors, float32 (n, width), copied and arranged for exact top-k.")
      .def(py::init([](const py::object& items, int num_threads) {
             const auto vectors = matrix_of<float>(items, "PackedItems", "items");
             const Threads threads(num_threads);
             const py::gil_scoped_release release;
             return std::make_unique<PackedItems>(vectors, threads);
           }),
           py::arg("items"), py::arg("num_threads") = -1)
      .def_property_readonly("rows", &PackedItems::rows)
      .def_property_readonly("width", &PackedItems::width)
      .def_property_readonly("memory_bytes", &PackedItems::memory_bytes)
      .def("top_k", &top_k, py::arg("queries"), py::arg("k"), py::kw_only(), py::arg("seen_of_query") = py::none(),
           py::arg("seen_offsets") = py::none(), py::arg("seen_items") = py::none(), py::arg("allowed") = py::none(),
           py::arg("num_threads") = -1,
           "The k items of the largest dot product for each query, best first, equal scores by the smaller row: int32 rows and\n"
           "float32 scores, both (queries, k). Query i does not get the items of list seen_of_query[i] (none if negative); "
           "nobody\n"
           "gets an item whose entry in allowed (bool or uint8) is 0. Where fewer are left: row -1, score -inf.");

  m.def("score_pairs", &score_pairs, py::arg("queries"), py::arg("items"), py::arg("query_rows"), py::arg("item_rows"),
        py::arg("num_threads") = -1, "Dot products of given pairs, float32 (n), with the bits that top_k gives.");
}

}  // namespace twotower::bindings
