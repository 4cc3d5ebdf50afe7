// Source: the opcode descriptions of CPython's pickletools, protocol 2, of which torch.save emits
// the subset below.
#include "io/torch_pickle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "io/tensor_source.h"

namespace octet {
namespace {

constexpr uint64_t kMaxPickleBytes = 16u << 20;  // Mixtral 8x22B's is below 1 MiB
constexpr size_t kMaxValues = 1u << 20;
constexpr size_t kMaxDims = 8;
constexpr size_t kMaxStringBytes = 4096;
constexpr size_t kMaxKeyBytes =
    64;  // torch writes small decimal numbers; every view copies its key

enum Op : uint8_t {
  kProto = 0x80,
  kMark = '(',
  kStop = '.',
  kNone = 'N',
  kTrue = 0x88,
  kFalse = 0x89,
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinFloat = 'G',
  kBinUnicode = 'X',
  kBinString = 'T',
  kShortBinString = 'U',
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kEmptyList = ']',
  kAppend = 'a',
  kAppends = 'e',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kGlobal = 'c',
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
};

enum class Role : uint8_t {
  kOrderedDict,
  kRebuildTensor,     // _rebuild_tensor and _v2: the storage has the type
  kRebuildTensorV3,   // the type is an argument
  kRebuildParameter,  // its first argument is the tensor
  kStorage,           // the type of a storage
  kType,              // torch.bfloat16
};

struct Global {
  std::string_view module;
  std::string_view name;
  Role role;
  TorchType type = {};
};

constexpr TorchType kF32 = {"float32", 4, true, Format::kF32};
constexpr TorchType kF16 = {"float16", 2, true, Format::kF16};
constexpr TorchType kBf16 = {"bfloat16", 2, true, Format::kBf16};
constexpr TorchType kUntyped = {"untyped bytes", 1, false, std::nullopt};

constexpr std::array kGlobals = {
    Global{"collections", "OrderedDict", Role::kOrderedDict},
    Global{"torch._utils", "_rebuild_tensor", Role::kRebuildTensor},
    Global{"torch._utils", "_rebuild_tensor_v2", Role::kRebuildTensor},
    Global{"torch._utils", "_rebuild_tensor_v3", Role::kRebuildTensorV3},
    Global{"torch._utils", "_rebuild_parameter", Role::kRebuildParameter},
    Global{"torch", "FloatStorage", Role::kStorage, kF32},
    Global{"torch", "HalfStorage", Role::kStorage, kF16},
    Global{"torch", "BFloat16Storage", Role::kStorage, kBf16},
    Global{"torch", "DoubleStorage", Role::kStorage, {"float64", 8, true, std::nullopt}},
    Global{"torch", "LongStorage", Role::kStorage, {"int64", 8, false, std::nullopt}},
    Global{"torch", "IntStorage", Role::kStorage, {"int32", 4, false, std::nullopt}},
    Global{"torch", "ShortStorage", Role::kStorage, {"int16", 2, false, std::nullopt}},
    Global{"torch", "CharStorage", Role::kStorage, {"int8", 1, false, std::nullopt}},
    Global{"torch", "ByteStorage", Role::kStorage, {"uint8", 1, false, std::nullopt}},
    Global{"torch", "BoolStorage", Role::kStorage, {"bool", 1, false, std::nullopt}},
    Global{"torch.storage", "UntypedStorage", Role::kStorage, kUntyped},
    Global{"torch", "UntypedStorage", Role::kStorage, kUntyped},
    Global{"torch", "float32", Role::kType, kF32},
    Global{"torch", "float16", Role::kType, kF16},
    Global{"torch", "bfloat16", Role::kType, kBf16},
};

enum class Kind : uint8_t {
  kOther,  // None, floats: they only need to be there
  kInt,    // booleans too
  kString,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor,
};

using Ref = uint32_t;  // of a value; containers and the memo share values by it

struct Value {
  Kind kind = Kind::kOther;
  int64_t number = 0;      // kInt; kGlobal: index in kGlobals; kStorage, kTensor: in tensors_
  std::string text;        // kString
  std::vector<Ref> items;  // kTuple, kList; kDict: keys and values in turn
};

class Machine {
 public:
  Machine(std::span<const std::byte> pickle, std::string_view where)
      : in_(pickle, where), where_(where) {}

  Result<std::vector<TorchTensor>> Run() {
    for (;;) {
      at_ = in_.offset();
      OCTET_ASSIGN(const auto op, in_.Read<uint8_t>("pickle opcode"));
      if (op == kStop) return Collect();
      OCTET_TRY(Step(op));
    }
  }

 private:
  Status Step(uint8_t op) {
    switch (op) {
      case kProto:
        return Protocol();
      case kMark:
        marks_.push_back(stack_.size());
        return marks_.size() <= kMaxValues ? Status() : Bad("too many marks");
      case kNone:
      case kTrue:
      case kFalse:
      case kBinInt:
      case kBinInt1:
      case kBinInt2:
      case kLong1:
      case kBinFloat:
        return PushNumber(op);
      case kBinUnicode:
      case kBinString:
        return PushString<uint32_t>();
      case kShortBinString:
        return PushString<uint8_t>();
      case kEmptyTuple:
        return Push({Kind::kTuple});
      case kEmptyList:
        return Push({Kind::kList});
      case kEmptyDict:
        return Push({Kind::kDict});
      case kTuple:
        return Tuple(SinceMark());
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return Tuple(Top(op - kTuple1 + 1u));
      case kAppend:
        return Extend(Kind::kList, Top(1));
      case kAppends:
        return Extend(Kind::kList, SinceMark());
      case kSetItem:
        return Extend(Kind::kDict, Top(2));
      case kSetItems:
        return Extend(Kind::kDict, SinceMark());
      case kBinPut:
        return Put<uint8_t>();
      case kLongBinPut:
        return Put<uint32_t>();
      case kBinGet:
        return Get<uint8_t>();
      case kLongBinGet:
        return Get<uint32_t>();
      case kGlobal:
        return PushGlobal();
      case kReduce:
        return Reduce();
      case kBuild:
        return Build();
      case kBinPersId:
        return PersistentId();
      default:
        return Err(
            ErrorCode::kUnsupported,
            "{}: pickle opcode {:#04x} at byte {}, which torch.save does not write (protocol "
            "2); save the tensors again with torch.save, or as safetensors",
            where_, op, at_);
    }
  }

  tl::unexpected<Error> Bad(std::string_view what) const {
    return Err(ErrorCode::kCorrupt, "{}: pickle, byte {}: {}", where_, at_, what);
  }

  // --- Stack ---------------------------------------------------------------------------------

  Status Push(Value value) {
    if (values_.size() == kMaxValues) return Bad("more values than any checkpoint has");
    values_.push_back(std::move(value));
    return PushRef(static_cast<Ref>(values_.size() - 1));
  }
  Status PushRef(Ref ref) {
    if (stack_.size() == kMaxValues) return Bad("stack too deep");
    stack_.push_back(ref);
    return {};
  }
  // The lowest stack index that may be popped: values below a mark belong to what it opened.
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }

  // Pops `n` values, in stack order.
  Result<std::vector<Ref>> Top(size_t n) {
    if (stack_.size() < Floor() + n) return Bad("stack underflow");
    std::vector<Ref> items(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return items;
  }
  Result<std::vector<Ref>> SinceMark() {
    if (marks_.empty()) return Bad("no mark");
    OCTET_ASSIGN(std::vector<Ref> items, Top(stack_.size() - marks_.back()));
    marks_.pop_back();
    return items;
  }
  const Value* Peek() const { return stack_.size() > Floor() ? &values_[stack_.back()] : nullptr; }

  // --- Opcodes -------------------------------------------------------------------------------

  Status Protocol() {
    OCTET_ASSIGN(const auto protocol, in_.Read<uint8_t>("protocol"));
    if (protocol == 2) return {};
    return Err(ErrorCode::kUnsupported, "{}: pickle protocol {}, expected 2 (torch.save's default)",
               where_, protocol);
  }

  Status PushNumber(uint8_t op) {
    int64_t number = 0;
    if (op == kNone || op == kBinFloat) {
      if (op == kBinFloat) OCTET_TRY(in_.Take(8, "float"));
      return Push({Kind::kOther});
    }
    if (op == kTrue || op == kFalse) {
      number = op == kTrue ? 1 : 0;
    } else if (op == kBinInt) {
      OCTET_ASSIGN(number, in_.Read<int32_t>("integer"));
    } else if (op == kBinInt1) {
      OCTET_ASSIGN(number, in_.Read<uint8_t>("integer"));
    } else if (op == kBinInt2) {
      OCTET_ASSIGN(number, in_.Read<uint16_t>("integer"));
    } else {
      OCTET_ASSIGN(number, ReadLong());
    }
    return Push({Kind::kInt, number});
  }

  // A length and that many bytes, little-endian two's complement.
  Result<int64_t> ReadLong() {
    OCTET_ASSIGN(const auto n, in_.Read<uint8_t>("integer"));
    OCTET_ASSIGN(const auto raw, in_.Take(n, "integer"));
    if (n > 8) return Bad("integer wider than 64 bits");
    if (n == 0) return 0;
    const bool negative = (static_cast<uint8_t>(raw.back()) & 0x80) != 0;
    int64_t number = negative ? -1 : 0;
    std::memcpy(&number, raw.data(), n);
    return number;
  }

  template <class Length>
  Status PushString() {
    OCTET_ASSIGN(const auto n, in_.Read<Length>("string length"));
    OCTET_ASSIGN(const auto raw, in_.Take(n, "string"));
    if (n > kMaxStringBytes) return Bad("a string longer than any tensor name");
    return Push(
        {Kind::kString, 0, std::string(reinterpret_cast<const char*>(raw.data()), raw.size())});
  }

  Status Tuple(Result<std::vector<Ref>> items) {
    if (!items) return tl::unexpected<Error>(std::move(items).error());
    return Push({Kind::kTuple, 0, {}, *std::move(items)});
  }

  Status Extend(Kind kind, Result<std::vector<Ref>> items) {
    if (!items) return tl::unexpected<Error>(std::move(items).error());
    const Value* const top = Peek();
    if (top == nullptr || top->kind != kind) return Bad("items for no list or dictionary");
    if (kind == Kind::kDict && items->size() % 2 != 0) return Bad("a key without a value");
    auto& into = values_[stack_.back()].items;
    into.insert(into.end(), items->begin(), items->end());
    return {};
  }

  template <class Index>
  Status Put() {
    OCTET_ASSIGN(const auto index, in_.Read<Index>("memo index"));
    if (Peek() == nullptr) return Bad("nothing to remember");
    memo_[index] = stack_.back();
    return {};
  }
  template <class Index>
  Status Get() {
    OCTET_ASSIGN(const auto index, in_.Read<Index>("memo index"));
    const auto found = memo_.find(index);
    if (found == memo_.end()) return Bad("a memo index never set");
    return PushRef(found->second);
  }

  Result<std::string> ReadLine() {
    std::string line;
    for (;;) {
      OCTET_ASSIGN(const char c, in_.Read<char>("name"));
      if (c == '\n') return line;
      if (line.size() == 256) return Bad("a name longer than 256 bytes");
      line.push_back(c);
    }
  }

  Status PushGlobal() {
    OCTET_ASSIGN(const std::string module, ReadLine());
    OCTET_ASSIGN(const std::string name, ReadLine());
    for (size_t i = 0; i < kGlobals.size(); ++i) {
      if (kGlobals[i].module == module && kGlobals[i].name == name)
        return Push({Kind::kGlobal, static_cast<int64_t>(i)});
    }
    return Err(ErrorCode::kUnsupported,
               "{}: the pickle asks for {}.{}, which is not part of a plain state dict; nothing of "
               "it was executed. Save only the tensors (a dict of name to tensor), or as "
               "safetensors",
               where_, module, name);
  }

  Status Reduce() {
    OCTET_ASSIGN(const std::vector<Ref> call, Top(2));
    const Value& callee = values_[call[0]];
    const Value& arguments = values_[call[1]];
    if (callee.kind != Kind::kGlobal || arguments.kind != Kind::kTuple)
      return Bad("a call of what is no function");
    const Global& global = kGlobals[static_cast<size_t>(callee.number)];
    switch (global.role) {
      case Role::kOrderedDict:
        if (!arguments.items.empty()) return Bad("OrderedDict with arguments");
        return Push({Kind::kDict});
      case Role::kRebuildTensor:
        return RebuildTensor(arguments.items, nullptr);
      case Role::kRebuildTensorV3: {
        const Global* const type = GlobalAt(arguments.items, 6, Role::kType);
        return type != nullptr ? RebuildTensor(arguments.items, &type->type)
                               : Bad("a tensor of unknown type");
      }
      case Role::kRebuildParameter:
        if (arguments.items.empty() || values_[arguments.items[0]].kind != Kind::kTensor)
          return Bad("a parameter without a tensor");
        return PushRef(arguments.items[0]);
      case Role::kStorage:
      case Role::kType:
        break;
    }
    return Bad("a call of a type");
  }

  // (storage, first element, shape, stride, …)
  Status RebuildTensor(const std::vector<Ref>& arguments, const TorchType* type) {
    if (arguments.size() < 4 || values_[arguments[0]].kind != Kind::kStorage)
      return Bad("a tensor without a storage");
    TorchTensor tensor = tensors_[static_cast<size_t>(values_[arguments[0]].number)];
    if (type != nullptr) tensor.type = *type;
    const Value& first = values_[arguments[1]];
    if (first.kind != Kind::kInt || first.number < 0) return Bad("a tensor's first element");
    tensor.first = first.number;
    OCTET_ASSIGN(tensor.shape, Integers(arguments[2]));
    OCTET_ASSIGN(tensor.stride, Integers(arguments[3]));
    if (tensor.shape.size() != tensor.stride.size()) return Bad("shape and stride differ in rank");
    tensors_.push_back(std::move(tensor));
    return Push({Kind::kTensor, static_cast<int64_t>(tensors_.size()) - 1});
  }

  Result<std::vector<int64_t>> Integers(Ref ref) const {
    const Value& tuple = values_[ref];
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kMaxDims)
      return Bad("expected a tuple of at most 8 dimensions");
    std::vector<int64_t> numbers;
    for (const Ref item : tuple.items) {
      const Value& value = values_[item];
      if (value.kind != Kind::kInt || value.number < 0) return Bad("a dimension or stride");
      numbers.push_back(value.number);
    }
    return numbers;
  }

  // The attributes of an OrderedDict (torch's _metadata): not needed.
  Status Build() {
    OCTET_TRY(Top(1));
    const Value* const top = Peek();
    return top != nullptr && top->kind == Kind::kDict ? Status()
                                                      : Bad("attributes for no dictionary");
  }

  // ("storage", type, key, device, elements)
  Status PersistentId() {
    OCTET_ASSIGN(const std::vector<Ref> id, Top(1));
    const Value& tuple = values_[id[0]];
    if (tuple.kind != Kind::kTuple || tuple.items.size() < 5) return Bad("a storage's description");
    const Global* const storage = GlobalAt(tuple.items, 1, Role::kStorage);
    const Value& tag = values_[tuple.items[0]];
    const Value& key = values_[tuple.items[2]];
    const Value& elements = values_[tuple.items[4]];
    uint64_t bytes = 0;
    if (storage == nullptr || tag.text != "storage" || key.kind != Kind::kString ||
        key.text.size() > kMaxKeyBytes || elements.kind != Kind::kInt || elements.number < 0 ||
        __builtin_mul_overflow(static_cast<uint64_t>(elements.number), storage->type.bytes, &bytes))
      return Bad("a storage's description");
    TorchTensor tensor;
    tensor.type = storage->type;
    tensor.storage_key = key.text;
    tensor.storage_bytes = bytes;
    tensors_.push_back(std::move(tensor));
    return Push({Kind::kStorage, static_cast<int64_t>(tensors_.size()) - 1});
  }

  const Global* GlobalAt(const std::vector<Ref>& items, size_t i, Role role) const {
    if (i >= items.size() || values_[items[i]].kind != Kind::kGlobal) return nullptr;
    const Global& global = kGlobals[static_cast<size_t>(values_[items[i]].number)];
    return global.role == role ? &global : nullptr;
  }

  Result<std::vector<TorchTensor>> Collect() {
    if (stack_.size() != 1 || values_[stack_[0]].kind != Kind::kDict)
      return Bad("expected one dictionary of name to tensor");
    const std::vector<Ref>& items = values_[stack_[0]].items;
    std::vector<TorchTensor> tensors;
    std::unordered_set<Ref> names;  // the memo can give one name a million times
    for (size_t i = 0; i < items.size(); i += 2) {
      const Value& name = values_[items[i]];
      const Value& value = values_[items[i + 1]];
      if (name.kind != Kind::kString || value.kind != Kind::kTensor) continue;
      if (!names.insert(items[i]).second) return Bad("a tensor name given twice");
      tensors.push_back(tensors_[static_cast<size_t>(value.number)]);
      tensors.back().name = name.text;
    }
    if (tensors.empty())
      return Err(ErrorCode::kUnsupported,
                 "{}: the top-level dictionary holds no tensors; expected name to tensor", where_);
    return tensors;
  }

  ByteReader in_;
  std::string_view where_;
  uint64_t at_ = 0;  // of the current opcode
  std::vector<Value> values_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Ref> memo_;
  std::vector<TorchTensor> tensors_;  // a storage is one whose shape is not known yet
};

}  // namespace

Result<std::vector<TorchTensor>> ReadTorchPickle(std::span<const std::byte> pickle,
                                                 std::string_view where) {
  if (pickle.size() > kMaxPickleBytes) {
    return Err(ErrorCode::kUnsupported, "{}: its pickle has {} bytes, more than {}", where,
               pickle.size(), kMaxPickleBytes);
  }
  return Machine(pickle, where).Run();
}

}  // namespace octet
