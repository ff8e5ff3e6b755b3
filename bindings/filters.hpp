#pragma once
// The keyword arguments that say which items may come back: those of ItemIndex.top_k and of every function that does the same.
#include <optional>
#include <string>
#include <tuple>

#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/retrieval/exclusions.hpp"

namespace twotower::bindings {

/// The three arrays of lists, all or none, as None or an array each.
struct ListArguments {
  const char* name;
  py::object of_query, offsets, items;

  std::optional<retrieval::ItemLists> view(const char* function) const {
    const std::string first = std::string(name) + "_of_query", second = std::string(name) + "_offsets",
                      third = std::string(name) + "_items";
    const auto query_lists = optional_vector_of<Row>(of_query, function, first.c_str());
    const auto list_offsets = optional_vector_of<std::int64_t>(offsets, function, second.c_str());
    const auto list_items = optional_vector_of<Row>(items, function, third.c_str());
    if (query_lists && list_offsets && list_items) return retrieval::ItemLists{*query_lists, *list_offsets, *list_items};
    if (query_lists || list_offsets || list_items)
      fail(function, first + ", " + second + " and " + third + " belong together; give all three or none");
    return std::nullopt;
  }
};

/// All filters of one call; keeps the arrays alive.
struct FilterArguments {
  ListArguments seen, denied, listed;
  py::object allowed;

  /// Views of the arrays; bools are bytes.
  retrieval::Filters view(const char* function) const {
    return {seen.view(function), denied.view(function), listed.view(function),
            optional_vector_of<std::uint8_t>(allowed, function, "allowed")};
  }
};

inline py::object bytes_of(const py::object& flags) {
  const bool is_bool = py::isinstance<py::array>(flags) && flags.attr("dtype").attr("kind").cast<std::string>() == "b";
  return is_bool ? py::object(flags.attr("view")("uint8")) : flags;
}

/// A function of Python whose last arguments are those of filter_names(), made of one that takes them as one.
template <class Result, class... Others>
auto with_filters(Result (*function)(const FilterArguments&, int, Others...)) {
  return [function](Others... others, const py::object& seen_of_query, const py::object& seen_offsets,
                    const py::object& seen_items, const py::object& denied_of_query, const py::object& denied_offsets,
                    const py::object& denied_items, const py::object& allowed, const py::object& allowed_of_query,
                    const py::object& allowed_offsets, const py::object& allowed_items, int num_threads) {
    const FilterArguments filters{{"seen", seen_of_query, seen_offsets, seen_items},
                                  {"denied", denied_of_query, denied_offsets, denied_items},
                                  {"allowed", allowed_of_query, allowed_offsets, allowed_items},
                                  bytes_of(allowed)};
    return function(filters, num_threads, others...);
  };
}

/// Their names and defaults, the number of threads last; for std::apply.
inline auto filter_names() {
  return std::make_tuple(
      py::kw_only(), py::arg("seen_of_query") = py::none(), py::arg("seen_offsets") = py::none(),
      py::arg("seen_items") = py::none(), py::arg("denied_of_query") = py::none(), py::arg("denied_offsets") = py::none(),
      py::arg("denied_items") = py::none(), py::arg("allowed") = py::none(), py::arg("allowed_of_query") = py::none(),
      py::arg("allowed_offsets") = py::none(), py::arg("allowed_items") = py::none(), py::arg("num_threads") = -1);
}

}  // namespace twotower::bindings
