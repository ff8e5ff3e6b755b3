#include <string>
#include <utility>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/data/text.hpp"
#include "twotower/data/tf_idf.hpp"

namespace twotower::bindings {
namespace {

using data::TextCoder;
using data::TextRules;
using data::Texts;
using data::TokenList;

constexpr const char* kName = "TextCoder";

/// An array that takes the values over: a column of codes can be as large as the texts themselves, too large for two of it.
template <class T>
py::array_t<T> moved(std::vector<T>&& values) {
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  T* const begin = owner->data();
  const auto size = static_cast<py::ssize_t>(owner->size());
  const py::capsule capsule(owner.get(), [](void* vector) { delete static_cast<std::vector<T>*>(vector); });
  owner.release();  // the capsule's from here on
  return py::array_t<T>(size, begin, capsule);
}

Texts texts_of(const py::object& buffer, const py::object& offsets) {
  return {vector_of<std::uint8_t>(buffer, kName, "buffer"), vector_of<std::int64_t>(offsets, kName, "offsets")};
}

py::array_t<std::uint8_t> bytes_of(const std::string& bytes) {
  return py::array_t<std::uint8_t>(std::ssize(bytes), reinterpret_cast<const std::uint8_t*>(bytes.data()));
}

std::unique_ptr<TextCoder> make_coder(bool fold_case, bool strip_accents, std::pair<Index, Index> words,
                                      std::pair<Index, Index> chars, Index buckets, const py::object& tokens) {
  const TextRules rules{fold_case, strip_accents, words.first, words.second, chars.first, chars.second};
  if (tokens.is_none()) {
    const py::gil_scoped_release release;
    return std::make_unique<TextCoder>(rules, buckets);
  }
  const auto parts = tokens.cast<std::pair<py::object, py::object>>();
  const Texts vocabulary = texts_of(parts.first, parts.second);
  const py::gil_scoped_release release;
  return std::make_unique<TextCoder>(rules, vocabulary);
}

py::tuple encode(const TextCoder& self, const py::object& buffer, const py::object& offsets, bool keep_unknown, Index max_length,
                 int num_threads) {
  const Texts texts = texts_of(buffer, offsets);
  const Threads threads(num_threads);
  const auto unknown = keep_unknown ? data::UnknownTokens::kKeepAsZero : data::UnknownTokens::kLeaveOut;
  data::TextCodes found;
  {
    const py::gil_scoped_release release;
    found = self.encode(texts, unknown, max_length, threads);
  }
  return py::make_tuple(moved(std::move(found.offsets)), moved(std::move(found.codes)));
}

py::tuple learn(const TextCoder& self, const py::object& buffer, const py::object& offsets, Index min_count, Index max_tokens,
                int num_threads) {
  const Texts texts = texts_of(buffer, offsets);
  const Threads threads(num_threads);
  TokenList found;
  {
    const py::gil_scoped_release release;
    found = self.learn(texts, min_count, max_tokens, threads);
  }
  return py::make_tuple(bytes_of(found.bytes), moved(std::move(found.offsets)), moved(std::move(found.documents)), found.rare,
                        found.beyond);
}

py::tuple split(const TextCoder& self, const py::object& buffer, const py::object& offsets) {
  const Texts texts = texts_of(buffer, offsets);
  std::vector<std::int64_t> text_ends;
  TokenList found;
  {
    const py::gil_scoped_release release;
    found = self.split(texts, text_ends);
  }
  return py::make_tuple(moved(std::move(text_ends)), bytes_of(found.bytes), moved(std::move(found.offsets)));
}

py::tuple tf_idf(const py::object& offsets, const py::object& codes, const py::object& idf, int num_threads) {
  const auto bounds = vector_of<std::int64_t>(offsets, "tf_idf", "offsets");
  const auto values = vector_of<Row>(codes, "tf_idf", "codes");
  const auto factors = vector_of<double>(idf, "tf_idf", "idf");
  const Threads threads(num_threads);
  data::WeightedCodes found;
  {
    const py::gil_scoped_release release;
    found = data::tf_idf(bounds, values, factors, threads);
  }
  return py::make_tuple(moved(std::move(found.offsets)), moved(std::move(found.codes)), moved(std::move(found.weights)));
}

py::array_t<std::int64_t> document_counts(const py::object& offsets, const py::object& codes, Index vocabulary) {
  const auto bounds = vector_of<std::int64_t>(offsets, "document_counts", "offsets");
  const auto values = vector_of<Row>(codes, "document_counts", "codes");
  std::vector<std::int64_t> counts;
  {
    const py::gil_scoped_release release;
    counts = data::document_counts(bounds, values, vocabulary);
  }
  return moved(std::move(counts));
}

}  // namespace

void bind_text(py::module_& m) {
  py::class_<TextCoder>(m, "TextCoder", "Turns texts into codes, hashed or by a vocabulary.")
      .def(py::init(&make_coder), py::kw_only(), py::arg("fold_case"), py::arg("strip_accents"), py::arg("words"),
           py::arg("chars"), py::arg("buckets") = 0, py::arg("tokens") = py::none())
      .def_property_readonly("size", &TextCoder::size)
      .def("encode", &encode, py::arg("buffer"), py::arg("offsets"), py::kw_only(), py::arg("keep_unknown"),
           py::arg("max_length") = 0, py::arg("num_threads") = -1)
      .def("learn", &learn, py::arg("buffer"), py::arg("offsets"), py::kw_only(), py::arg("min_count"), py::arg("max_tokens"),
           py::arg("num_threads") = -1)
      .def("split", &split, py::arg("buffer"), py::arg("offsets"));
  m.def("document_counts", &document_counts, py::arg("offsets"), py::arg("codes"), py::arg("vocabulary"));
  m.def("tf_idf", &tf_idf, py::arg("offsets"), py::arg("codes"), py::arg("idf"), py::kw_only(), py::arg("num_threads") = -1);
}

}  // namespace twotower::bindings
