#include <string>

#include "text/chat_template.h"

namespace octet {
namespace {

/// Mistral's: the system text goes before the first user text, or before the last one.
std::string MistralTemplate(bool before_last, const std::string& end, const std::string& gap) {
  const std::string chosen = before_last ? "ns.last" : "ns.first";
  return "{{ bos_token }}{% set ns = namespace(system='', first=-1, last=-1) %}"
         "{% for m in messages %}{% if m['role'] == 'system' %}{% set ns.system = m['content'] + "
         "'\\n\\n' %}{% elif m['role'] == 'user' %}{% if ns.first < 0 %}{% set ns.first = "
         "loop.index0 %}{% endif %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
         "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + (ns.system if "
         "loop.index0 == " +
         chosen + " else '') + m['content'] + '" + end +
         "' }}{% elif m['role'] == 'assistant' %}{{ '" + gap +
         "' + m['content'] + eos_token }}{% endif %}{% endfor %}";
}

}  // namespace

std::string JinjaTemplateOf(ChatFormat format) {
  switch (format) {
    case ChatFormat::kRaw:
      return "";
    case ChatFormat::kMistralV1:
      return MistralTemplate(false, " [/INST]", "");
    case ChatFormat::kMistralV3:
      return MistralTemplate(true, "[/INST]", " ");
    case ChatFormat::kLlama2:
      return "{% set ns = namespace(system='') %}{% for m in messages %}{% if m['role'] == "
             "'system' %}{% set ns.system = '<<SYS>>\\n' + m['content'] + '\\n<</SYS>>\\n\\n' %}"
             "{% elif m['role'] == 'user' %}{{ bos_token + '[INST] ' + (ns.system + "
             "m['content']).strip() + ' [/INST]' }}{% set ns.system = '' %}{% else %}{{ ' ' + "
             "m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
    case ChatFormat::kChatMl:
      return "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
             "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
             "'<|im_start|>assistant\\n' }}{% endif %}";
    case ChatFormat::kZephyr:
      // The roles' marks are spelt out, so that a reader of marks finds them.
      return "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|assistant|>\\n' }}"
             "{% elif m['role'] == 'user' %}{{ '<|user|>\\n' }}{% else %}{{ '<|system|>\\n' }}"
             "{% endif %}{{ m['content'] + eos_token + '\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";
  }
  return "";
}

}  // namespace octet
