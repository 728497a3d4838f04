// The browser's own slider: its focus, role, name and value are on one element, as screen readers need them.
export default {
  template: `
    <input
      type="range"
      :value="modelValue"
      :disabled="disable"
      @input="$emit('update:modelValue', $event.target.valueAsNumber)"
    />`,
  props: { modelValue: Number, disable: Boolean },
  emits: ["update:modelValue"],
};
