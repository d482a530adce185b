// What Python hands to an SDK function, checked and kept alive while the call runs.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace orthanc_async::sdk {

namespace py = pybind11;

// All parse() members: GIL held; they throw error_already_set that names function and argument.
// All get()/data()/size() members: GIL not needed, nothing of Python is touched.
// Destructors of arguments: GIL held, they own Python references.

// One argument and the words to complain about it.
struct Argument {
    const char* function;
    const char* name;
    PyObject* value; // borrowed

    [[noreturn]] void wrong_type(const char* expected) const;
    [[noreturn]] void wrong_value(const std::string& what) const;
};

class Arguments {
public:
    // Throws TypeError unless there are exactly `expected` arguments.
    Arguments(const char* function, const char* parameters, Py_ssize_t expected,
              PyObject* const* values, Py_ssize_t count);

    Argument at(Py_ssize_t index, const char* name) const {
        return {function_, name, values_[index]};
    }

private:
    const char* function_;
    PyObject* const* values_;
};

// The call as text, for messages: RestApiGet('/studies'). GIL: not needed.
class Description {
public:
    explicit Description(const char* function) : text_(function) { text_ += '('; }

    template <class T> Description& add(const T& argument) {
        separate();
        argument.describe(text_);
        return *this;
    }
    Description& hide() { // passwords
        separate();
        text_ += "***";
        return *this;
    }
    std::string text() const { return text_ + ')'; }

private:
    void separate() {
        if (text_.back() != '(') {
            text_ += ", ";
        }
    }
    std::string text_;
};

// Appends a quoted form without control characters and invalid UTF-8, cut when long.
void append_quoted(std::string& text, std::string_view value);

// str as UTF-8 that ends in NUL. Bytes that were no UTF-8 come back through surrogateescape, so
// that names of files and headers survive the way through Python.
class StringArgument {
public:
    void parse(const Argument& argument);
    const char* get() const { return data_; }
    void describe(std::string& text) const;

protected:
    py::object owner_;
    const char* data_ = nullptr;
    std::size_t size_ = 0;
};

// The same where the SDK takes NULL: None.
class OptionalStringArgument : public StringArgument {
public:
    void parse(const Argument& argument);
};

// bytes, any other contiguous buffer, or str as UTF-8.
class BytesArgument {
public:
    BytesArgument() = default;
    BytesArgument(const BytesArgument&) = delete;
    BytesArgument& operator=(const BytesArgument&) = delete;
    ~BytesArgument();

    // `most`: what the SDK's size argument can hold.
    void parse(const Argument& argument, std::uint64_t most);
    const void* data() const { return data_; }
    template <class Size> Size size() const { return static_cast<Size>(size_); }
    void describe(std::string& text) const;

    // The caller owns the view from here on; null when a str was passed. GIL: held.
    std::unique_ptr<Py_buffer> take_view();

private:
    Py_buffer view_{};
    bool viewed_ = false;
    py::object owner_; // of an encoded str
    const char* data_ = nullptr;
    std::uint64_t size_ = 0;
};

// Reads an int, a member of an enumeration, or anything with __index__.
std::int64_t parse_integer(const Argument& argument, std::int64_t least, std::int64_t most);
std::uint64_t parse_unsigned(const Argument& argument);
double parse_real(const Argument& argument);

template <class T> class NumberArgument {
public:
    void parse(const Argument& argument) {
        if constexpr (std::is_floating_point_v<T>) {
            value_ = static_cast<T>(parse_real(argument));
        } else if constexpr (std::is_same_v<T, std::uint64_t>) {
            value_ = parse_unsigned(argument);
        } else {
            value_ = static_cast<T>(parse_integer(argument, std::numeric_limits<T>::min(),
                                                  std::numeric_limits<T>::max()));
        }
    }
    T get() const { return value_; }
    void describe(std::string& text) const { text += std::to_string(value_); }

private:
    T value_{};
};

// Values that the header does not know are let through: a newer Orthanc may know them.
template <class T> class EnumArgument {
public:
    void parse(const Argument& argument) {
        value_ = static_cast<std::int32_t>(
            parse_integer(argument, std::numeric_limits<std::int32_t>::min(),
                          std::numeric_limits<std::int32_t>::max()));
    }
    T get() const { return static_cast<T>(value_); }
    void describe(std::string& text) const { text += std::to_string(value_); }

private:
    std::int32_t value_ = 0;
};

// A dict of str to str: HTTP headers.
class HeadersArgument {
public:
    void parse(const Argument& argument); // None: no headers
    std::uint32_t count() const { return static_cast<std::uint32_t>(keys_.size()); }
    const char* const* keys() const { return keys_.data(); }
    const char* const* values() const { return values_.data(); }
    void describe(std::string& text) const; // only the keys: values may be secrets

private:
    std::vector<StringArgument> owners_;
    std::vector<const char*> keys_;
    std::vector<const char*> values_;
};

// Pixels that the SDK reads without being told how many bytes there are: their number is checked
// here, because a short buffer would be read past its end.
class PixelsArgument : public BytesArgument {
public:
    void parse(const Argument& argument, OrthancPluginPixelFormat format, std::uint32_t width,
               std::uint32_t height, std::uint32_t pitch);
};

// 0 for a format that this header does not know.
std::uint32_t bytes_per_pixel(OrthancPluginPixelFormat format);

} // namespace orthanc_async::sdk
