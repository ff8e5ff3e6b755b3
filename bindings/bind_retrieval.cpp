#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "filters.hpp"
#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/base/parallel.hpp"
#include "twotower/retrieval/item_index.hpp"
#include "twotower/retrieval/score_pairs.hpp"

namespace twotower::bindings {
namespace {

using retrieval::ItemIndex;

py::tuple top_k(const FilterArguments& filter_arguments, int num_threads, const ItemIndex& index, const py::object& queries,
                Index k) {
  const auto vectors = matrix_of<float>(queries, "top_k", "queries");
  const retrieval::Filters filters = filter_arguments.view("top_k");
  const Threads threads(num_threads);
  check_at_least("top_k", "k", k, 1);  // the results have k columns
  auto rows = new_matrix<Row>(vectors.rows(), k);
  auto scores = new_matrix<float>(vectors.rows(), k);
  auto row_view = rows_of(rows);
  auto score_view = rows_of(scores);
  {
    const py::gil_scoped_release release;
    index.top_k(vectors, k, filters, threads, row_view, score_view);
  }
  return py::make_tuple(rows, scores);
}

void append(ItemIndex& index, const py::object& items, int num_threads) {
  const auto vectors = matrix_of<float>(items, "ItemIndex.append", "items");
  const Threads threads(num_threads);
  const py::gil_scoped_release release;
  index.append(vectors, threads);
}

void replace(ItemIndex& index, const py::object& rows, const py::object& items, int num_threads) {
  const auto numbers = vector_of<Row>(rows, "ItemIndex.replace", "rows");
  const auto vectors = matrix_of<float>(items, "ItemIndex.replace", "items");
  const Threads threads(num_threads);
  const py::gil_scoped_release release;
  index.replace(numbers, vectors, threads);
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
  py::class_<ItemIndex> bound(
      m, "ItemIndex",
      "Item vectors, float32 (n, width), copied and arranged for exact top-k. screen: whether an 8-bit copy is\n"
      "scanned first, which gives the same lists and scores; None chooses by the number of items and the CPU.");
  bound
      .def(py::init([](const py::object& items, int num_threads, std::optional<bool> screen) {
             const auto vectors = matrix_of<float>(items, "ItemIndex", "items");
             const Threads threads(num_threads);
             const py::gil_scoped_release release;
             return std::make_unique<ItemIndex>(vectors, threads, screen);
           }),
           py::arg("items"), py::arg("num_threads") = -1, py::arg("screen") = py::none())
      .def_property_readonly("rows", &ItemIndex::rows)
      .def_property_readonly("width", &ItemIndex::width)
      .def_property_readonly("memory_bytes", &ItemIndex::memory_bytes)
      .def_property_readonly("screened", &ItemIndex::screened)
      .def("append", &append, py::arg("items"), py::kw_only(), py::arg("num_threads") = -1,
           "Puts further item vectors, float32 (m, width), behind the last one. Not while another thread asks.")
      .def("replace", &replace, py::arg("rows"), py::arg("items"), py::kw_only(), py::arg("num_threads") = -1,
           "Gives the items of rows, int32 (m), other vectors, float32 (m, width). Not while another thread asks.");
  const auto def_top_k = [&](const auto&... filters) {
    bound.def(
        "top_k", with_filters(&top_k), py::arg("queries"), py::arg("k"), filters...,
        "The k items of the largest dot product for each query, best first, equal scores by the smaller row: int32 rows and\n"
        "float32 scores, both (queries, k). Query i does not get the items of the lists seen_of_query[i] and\n"
        "denied_of_query[i] (none if negative), and nothing but those of the list allowed_of_query[i] where that is not\n"
        "negative; nobody gets an item whose entry in allowed (bool or uint8) is 0. Where fewer are left: row -1, score -inf.");
  };
  std::apply(def_top_k, filter_names());

  m.def("score_pairs", &score_pairs, py::arg("queries"), py::arg("items"), py::arg("query_rows"), py::arg("item_rows"),
        py::arg("num_threads") = -1, "Dot products of given pairs, float32 (n), with the bits that top_k gives.");
}

}  // namespace twotower::bindings
