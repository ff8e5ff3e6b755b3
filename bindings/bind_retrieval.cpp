#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/base/parallel.hpp"
#include "twotower/retrieval/item_index.hpp"
#include "twotower/retrieval/score_pairs.hpp"

namespace twotower::bindings {
namespace {

using retrieval::Filters;
using retrieval::ItemIndex;
using retrieval::ItemLists;

/// The three arguments of lists, all or none, as None or an array each.
struct ListArguments {
  const char* name;
  py::object of_query, offsets, items;

  std::optional<ItemLists> view() const {
    const std::string first = std::string(name) + "_of_query", second = std::string(name) + "_offsets",
                      third = std::string(name) + "_items";
    const auto query_lists = optional_vector_of<Row>(of_query, "top_k", first.c_str());
    const auto list_offsets = optional_vector_of<std::int64_t>(offsets, "top_k", second.c_str());
    const auto list_items = optional_vector_of<Row>(items, "top_k", third.c_str());
    if (query_lists && list_offsets && list_items) return ItemLists{*query_lists, *list_offsets, *list_items};
    if (query_lists || list_offsets || list_items)
      fail("top_k", first + ", " + second + " and " + third + " belong together; give all three or none");
    return std::nullopt;
  }
};

py::tuple top_k(const ItemIndex& index, const py::object& queries, Index k, const py::object& seen_of_query,
                const py::object& seen_offsets, const py::object& seen_items, const py::object& denied_of_query,
                const py::object& denied_offsets, const py::object& denied_items, const py::object& allowed,
                const py::object& allowed_of_query, const py::object& allowed_offsets, const py::object& allowed_items,
                int num_threads) {
  const auto vectors = matrix_of<float>(queries, "top_k", "queries");
  // Bools are bytes; the view is kept alive here.
  const bool is_bool = py::isinstance<py::array>(allowed) && allowed.attr("dtype").attr("kind").cast<std::string>() == "b";
  const py::object allowed_bytes = is_bool ? py::object(allowed.attr("view")("uint8")) : allowed;
  Filters filters;
  filters.seen = ListArguments{"seen", seen_of_query, seen_offsets, seen_items}.view();
  filters.denied = ListArguments{"denied", denied_of_query, denied_offsets, denied_items}.view();
  filters.listed = ListArguments{"allowed", allowed_of_query, allowed_offsets, allowed_items}.view();
  filters.allowed = optional_vector_of<std::uint8_t>(allowed_bytes, "top_k", "allowed");
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
  py::class_<ItemIndex>(
      m, "ItemIndex",
      "Item vectors, float32 (n, width), copied and arranged for exact top-k. screen: whether an 8-bit copy is\n"
      "scanned first, which gives the same lists and scores; None chooses by the number of items and the CPU.")
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
           "Gives the items of rows, int32 (m), other vectors, float32 (m, width). Not while another thread asks.")
      .def(
          "top_k", &top_k, py::arg("queries"), py::arg("k"), py::kw_only(), py::arg("seen_of_query") = py::none(),
          py::arg("seen_offsets") = py::none(), py::arg("seen_items") = py::none(), py::arg("denied_of_query") = py::none(),
          py::arg("denied_offsets") = py::none(), py::arg("denied_items") = py::none(), py::arg("allowed") = py::none(),
          py::arg("allowed_of_query") = py::none(), py::arg("allowed_offsets") = py::none(),
          py::arg("allowed_items") = py::none(), py::arg("num_threads") = -1,
          "The k items of the largest dot product for each query, best first, equal scores by the smaller row: int32 rows and\n"
          "float32 scores, both (queries, k). Query i does not get the items of the lists seen_of_query[i] and\n"
          "denied_of_query[i] (none if negative), and nothing but those of the list allowed_of_query[i] where that is not\n"
          "negative; nobody gets an item whose entry in allowed (bool or uint8) is 0. Where fewer are left: row -1, score -inf.");

  m.def("score_pairs", &score_pairs, py::arg("queries"), py::arg("items"), py::arg("query_rows"), py::arg("item_rows"),
        py::arg("num_threads") = -1, "Dot products of given pairs, float32 (n), with the bits that top_k gives.");
}

}  // namespace twotower::bindings
